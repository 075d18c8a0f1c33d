"""`withdrawn.jsonl`: recordings that may not be learned from any more, by the SHA-256 of their sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data_prep.files import PrepError, read_json_lines, write_json_lines

WITHDRAWN = "withdrawn.jsonl"
GATE = "withdrawn"
Row = dict[str, Any]


def read_withdrawn(folder: Path) -> dict[str, Row]:
    """PCM hash -> `{recording, pcm_sha256, date, reason}` of a dataset's or a run's folder; PrepError for a damaged
    file, since what it says must not be lost."""
    try:
        return {str(row["pcm_sha256"]): row for row in read_json_lines(folder / WITHDRAWN)}
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise PrepError(
            f"{folder / WITHDRAWN} cannot be read ({error}); it says which recordings were withdrawn. Mend the line, "
            "or delete the file and withdraw them again."
        ) from error


def mark_withdrawn(folder: Path, row: Row) -> bool:
    """Add a recording; False where it was withdrawn before, which stands."""
    known = read_withdrawn(folder)
    if row["pcm_sha256"] in known:
        return False
    return write_json_lines(folder / WITHDRAWN, [*known.values(), row])


def why(row: Row) -> str:
    """When and for what reason, in words."""
    return f"withdrawn on {row.get('date')}" + (f": {row['reason']}" if row.get("reason") else "")
