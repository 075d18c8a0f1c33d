"""The recordings of a folder, and those that could not even be opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.files import PrepError
from data_prep.find_recordings import find_recordings
from data_prep.report import LeftOut
from data_prep.sound.recording import RecordingFault


@dataclass(frozen=True)
class Library:
    """The recordings as found: name (POSIX, below the root) -> path, and what could not even be opened."""

    root: Path
    paths: dict[str, Path]
    faults: list[LeftOut]


def find_library(root: Path, dataset: Path) -> Library:
    """The recordings under `root`; PrepError where there are none."""
    if not root.exists():
        raise PrepError(f"{root} does not exist; give the folder that holds the recordings.")
    if not root.is_dir():
        raise PrepError(f"{root} is a file; give the folder that holds the recordings.")
    if dataset.exists() and root.resolve().is_relative_to(dataset.resolve()):
        raise PrepError(
            f"{root} lies in the dataset folder {dataset}; recordings and dataset are two folders."
        )
    found, faults = find_recordings(root, leave=dataset)
    if not found and not faults:
        raise PrepError(
            f"There is no audio in {root}, also not in its folders: no WAV, AIFF, FLAC, OGG, MP3 or m4a."
        )
    paths = {path.relative_to(root).as_posix(): path for path in found}
    return Library(
        root, paths, [_left_out(path.relative_to(root).as_posix(), fault) for path, fault in faults]
    )


def _left_out(name: str, fault: RecordingFault) -> LeftOut:
    return LeftOut(name, fault.gate, fault.reason)
