"""Files and folders that are either there and whole, or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

PART = ".part-"  # in the name of everything that is being written


def from_home(path: str) -> Path:
    """`path` with a leading ~ as the home folder; one that names nobody's stays as it is."""
    try:
        return Path(path).expanduser()
    except (RuntimeError, ValueError):  # no such user; a name with a zero byte
        return Path(path)


def make_folder(path: Path) -> None:
    """Make `path` and what is missing above it, each name on the disk when this returns."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        sync(folder.parent)


def write_file(path: Path, data: bytes) -> None:
    """Write beside `path`, to the disk, and rename."""
    make_folder(path.parent)
    beside = path.with_name(f".{path.name}{PART}{uuid.uuid4().hex[:8]}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync(path.parent)


@contextlib.contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, which takes the name `path`, and the place of what was there, when the block ends."""
    make_folder(path.parent)
    beside = path.with_name(f".{path.name}{PART}{uuid.uuid4().hex[:8]}")
    beside.mkdir()
    try:
        yield beside
        for file in beside.rglob("*"):
            sync(file)
        sync(beside)
        remove_folder(path)
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    sync(path.parent)


def remove_folder(path: Path) -> None:
    """Take a folder away whole: renamed first, so that a half-removed one never carries its name."""
    if path.exists():
        aside = path.with_name(f".{path.name}{PART}{uuid.uuid4().hex[:8]}")
        path.rename(aside)
        shutil.rmtree(aside)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process was still writing in `folder`."""
    for left in folder.glob(f".*{PART}*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Force a file or a folder to the disk (folders cannot be opened on every system)."""
    with contextlib.suppress(PermissionError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
