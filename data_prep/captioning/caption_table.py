"""Captions as a table (CSV) for a spreadsheet: out, and back in without losing what was written meanwhile.

Columns: id, recording, split, seconds, reviewed, text, was. `was` is a hash of the caption that was given out: by it
a caption that nobody touched in the table is told from one that was edited there. A spreadsheet takes a cell that
begins with = + - or @ for a formula; such cells are given out with an apostrophe in front, which is taken off again.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_prep.dataset_folder import Row
from data_prep.files import PrepError, write_bytes
from data_prep.review.actions import write_caption
from data_prep.split import LEFT_OUT

COLUMNS = ("id", "recording", "split", "seconds", "reviewed", "text", "was")
SEPARATORS = (",", ";", "\t")
YES, NO = (
    ("yes", "y", "1", "true", "x", "ja", "oui", "si", "sí"),
    ("no", "n", "0", "false", "", "nein", "non"),
)
LARGEST_BYTES = 100_000_000
FEW = 5


@dataclass(frozen=True)
class Imported:
    """What an import does: `changes` are keys per row id; the rest are counts, and ids where a person should look."""

    rows: int
    changed: int
    reviewed: int
    unchanged: int
    kept_newer: int
    not_in_table: int
    changes: dict[str, Row] = field(default_factory=dict)
    changed_ids: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "changes"}


def export_table(rows: Iterable[Row], path: Path, separator: str = ",") -> int:
    """Write the captions of `rows` in UTF-8 with the mark that Excel looks for; how many there are."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    rows = list(rows)
    for row in rows:
        reviewed = "yes" if row.get("reviewed") else "no"
        cells = [row["id"], row["recording"], row["split"], f"{row['seconds']:.3f}", reviewed, row["text"]]
        writer.writerow([*(_shielded(cell) for cell in cells), _hash(row["text"])])
    write_bytes(path, b"\xef\xbb\xbf" + text.getvalue().encode("utf-8", "backslashreplace"))
    return len(rows)


def import_table(rows: Iterable[Row], path: Path) -> Imported:
    """What the table at `path` changes of `rows`.

    PrepError, with the line, where it is no such table, names slices that are not there, or would empty a caption;
    also where a caption was edited both in the table and, since, in the dataset. Then nothing is to be changed.
    """
    by_id = {row["id"]: row for row in rows}
    table = _read(path)
    _check(table, by_id, path)
    changes: dict[str, Row] = {}
    texts: list[str] = []
    newer: list[str] = []
    for line, cells in table:
        row = by_id[cells["id"]]
        now, kept = _change(row, cells, f"{path}, line {line}")
        if kept:
            newer.append(row["id"])
        elif now:
            changes[row["id"]] = now
            texts += [row["id"]] if "text" in now else []
    return Imported(
        rows=len(table),
        changed=len(texts),
        reviewed=len(changes) - len(texts),
        unchanged=len(table) - len(changes) - len(newer),
        kept_newer=len(newer),
        not_in_table=len(by_id) - len(table),
        changes=changes,
        changed_ids=texts,
    )


def _change(row: Row, cells: dict[str, str], where: str) -> tuple[Row, bool]:
    """The keys of a row that the table changes, and whether the row has a newer caption that stays."""
    try:
        now = write_caption(row, cells["text"])
    except PrepError as error:
        raise PrepError(f"{where} ({row['id']}): {error}") from error
    was = cells.get("was", "")
    touched_here = was != _hash(cells["text"])
    touched_there = bool(was) and was != _hash(row["text"])
    if now and was and not touched_here:
        return {}, True
    if now and touched_there and row.get("reviewed"):
        raise PrepError(
            f"{where}: the caption of {row['id']} was edited in this table and, since, in the dataset, where it is now "
            f"{row['text']!r}. Nothing is imported; settle it: write that into the table, or empty its cell `was` to "
            "have yours."
        )
    said = cells.get("reviewed", "").strip().casefold()
    if said not in (*YES, *NO):
        raise PrepError(f"{where}: reviewed is {said!r}; write yes or no.")
    if not now and said in YES and not row.get("reviewed"):
        return {"reviewed": True}, False
    return now, False


def _check(table: list[tuple[int, dict[str, str]]], by_id: dict[str, Row], path: Path) -> None:
    unknown = [cells["id"] for _, cells in table if cells["id"] not in by_id]
    if unknown:
        more = f" and {len(unknown) - FEW} more" if len(unknown) > FEW else ""
        raise PrepError(
            f"{path} names slices that are not in the dataset: {', '.join(unknown[:FEW])}{more}. Nothing is "
            "imported: is it that of another dataset, or were the slices cut anew? Export again and copy your captions."
        )
    seen: dict[str, int] = {}
    for line, cells in table:
        if cells["id"] in seen:
            raise PrepError(
                f"{path}, line {line}: {cells['id']} is also in line {seen[cells['id']]}; keep one of them."
            )
        seen[cells["id"]] = line


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line, cells by column name) of every row that is not empty."""
    text = _text(path)
    separator = _separator(text)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        found = [(lines.line_num, cells) for cells in lines if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise PrepError(f"{path}, line {lines.line_num}: {error}; save it as CSV again.") from error
    if found and found[0][1][0].strip().casefold().startswith("sep="):
        found = found[1:]
    header = [cell.strip().casefold() for cell in found[0][1]] if found else []
    if not {"id", "text"} <= set(header):
        raise PrepError(
            f"{path} has no columns `id` and `text` in its first line (separated by {separator!r}); begin with "
            "`woodshed captions DATASET --export FILE.csv`."
        )
    rows = []
    for line, cells in found[1:]:
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            raise PrepError(
                f"{path}, line {line} has {len(cells)} cells for {len(header)} columns: a caption with a "
                f"{separator!r} in it needs quotes around it."
            )
        rows.append((line, {name: _bare(cell) for name, cell in zip(header, cells, strict=False)}))
        if "text" not in rows[-1][1]:
            raise PrepError(f"{path}, line {line} ends before its text; save it as CSV again.")
    return rows


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise PrepError(f"{path} is larger than 100 MB; that is no table of captions.")
        content = path.read_bytes()
    except OSError as error:
        raise PrepError(f"{path} cannot be read: {error.strerror or error}.") from error
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise PrepError(
            f"{path} is not in UTF-8, and letters would be lost. In Excel, save it as `CSV UTF-8`."
        ) from error


def _separator(text: str) -> str:
    """The one that splits the first line into the most cells; what the line `sep=;` says, where Excel wrote it."""
    first = text.lstrip("\r\n").split("\n", 1)[0].strip("\r")
    if first.casefold().startswith("sep=") and len(first) == 5:
        return first[4]
    return max(SEPARATORS, key=first.count)


def _shielded(cell: str) -> str:
    return f"'{cell}" if re.match(r"'*[=+\-@\t\r]", cell) else cell


def _bare(cell: str) -> str:
    return cell[1:] if re.match(r"'+[=+\-@\t\r]", cell) else cell


def _hash(text: str) -> str:
    """Of the words alone: a spreadsheet may change the spaces."""
    return hashlib.sha256(" ".join(text.split()).encode("utf-8", "backslashreplace")).hexdigest()[:12]


def taken(rows: Iterable[Row]) -> list[Row]:
    """Rows that are in the dataset, not rejected."""
    return [row for row in rows if row["split"] != LEFT_OUT]
