"""JSON that is the same bytes for the same content, so that it can be hashed and no byte of it changed unseen."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from finetune.errors import WoodshedError


def canonical(content: Any) -> bytes:
    """Keys in order, no spaces, nothing but ASCII (a file name that is no Unicode has an escape)."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_object(content: bytes | str, what: str) -> dict[str, Any]:
    """A JSON object; WoodshedError, which begins with `what`, for anything else."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WoodshedError(f"{what} is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise WoodshedError(f"{what} is no JSON object.")
    return found
