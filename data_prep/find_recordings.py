"""The recordings of a folder, and of the folders in it, and what looks like one but cannot be opened."""

from __future__ import annotations

import os
from pathlib import Path

from data_prep.sound.formats import CLOSED_SUFFIXES, is_recording
from data_prep.sound.recording import RecordingFault

Fault = tuple[Path, RecordingFault]


def find_recordings(root: Path, leave: Path | None = None) -> tuple[list[Path], list[Fault]]:
    """Every audio file under `root` in a stable order, and what looks like audio but cannot be opened, with why.

    Hidden files and everything below the folder `leave` are passed over. Links to folders are followed, but no
    folder is entered twice, so a link that leads back to a folder above it ends there and is named.
    """
    found: list[Path] = []
    faults: list[Fault] = []
    seen = {_identity(leave)} if leave and leave.is_dir() else set()

    def walk(folder: Path) -> None:
        try:
            seen.add(_identity(folder))
            entries = sorted(folder.iterdir(), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            faults.append(_fault(folder, "unreadable", f"the folder cannot be opened: {error.strerror}"))
            return
        for path in entries:
            if not path.name.startswith("."):
                try:
                    look_at(path)
                except OSError as error:  # a folder that may be listed and not entered
                    faults.append(_fault(path, "unreadable", f"cannot be looked at: {error.strerror}"))

    def look_at(path: Path) -> None:
        if path.is_dir():
            if _identity(path) not in seen:
                walk(path)
            elif path.is_symlink():
                faults.append(_fault(path, "link_loop", _AGAIN))
            if is_recording(path.suffix) and _is_empty(path):
                faults.append(_fault(path, "unreadable", "a folder with the name of an audio file"))
        elif is_recording(path.suffix) and path.exists() and not path.is_file():
            faults.append(_fault(path, "unreadable", "a pipe or a device, no file"))
        elif is_recording(path.suffix):
            found.append(path)
        elif path.suffix.lower() in CLOSED_SUFFIXES:
            reason = f"{path.suffix.lower()} files are not read; export it as WAV or FLAC"
            faults.append(_fault(path, "foreign_format", reason))

    walk(root)
    return found, faults


_AGAIN = "a link to a folder that is already part of this library; it is not followed again"


def _fault(path: Path, gate: str, reason: str) -> Fault:
    return path, RecordingFault(gate, reason)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:
        return False  # named already
