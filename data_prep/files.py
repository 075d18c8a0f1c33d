"""Files written beside and renamed, and not at all where they would not change."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


class PrepError(Exception):
    """A sentence for the musician: why nothing could be prepared, and what to do."""


def write_bytes(path: Path, content: bytes) -> bool:
    """Write atomically; False, and the file untouched, where it already has this content."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return False
    replace(path, lambda beside: beside.write_bytes(content))
    return True


def replace(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make the file under a temporary name in the same folder, then rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def json_line(row: dict[str, Any]) -> str:
    """One line of JSON. Names that are no valid Unicode (a Linux file may have one) are written as escapes."""
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(row)
    return text


def write_json(path: Path, content: dict[str, Any]) -> bool:
    text = json.dumps(content, indent=2, ensure_ascii=not _is_unicode(content))
    return write_bytes(path, (text + "\n").encode())


def write_json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> bool:
    return write_bytes(path, "".join(json_line(row) + "\n" for row in rows).encode())


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of ours; none where it is not there."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn what a file system refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise PrepError(disk_sentence(error, folder)) from error


def disk_sentence(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk with {folder} is full. Make room and run the same command again: what is finished is kept "
            "and not done twice."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{folder} cannot be written to ({error.strerror}). Choose another folder, or change its permissions."
    return f"{error.filename or folder}: {error.strerror or error}."


def _is_unicode(content: dict[str, Any]) -> bool:
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
