"""The recordings behind the slices: found, decoded once, and asked for stretches of sound and for onsets."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np

from data_prep.dataset_folder import HIDDEN, DatasetFolder, Row
from data_prep.files import PrepError
from data_prep.review.actions import MARGIN
from data_prep.rhythm.onsets import detect
from data_prep.slicing.slices import PRE_ROLL
from data_prep.sound.recording import SAMPLE_RATE, Decoded, RecordingFault, decode

MOST_SAMPLES = 30 * 60 * SAMPLE_RATE
"""Decoded recordings are kept up to half an hour in all (635 MB), the latest ones; always one."""

CURE = "Start again with --recordings FOLDER to hear the context and move cuts."


class Sources:
    """The library of recordings. `root` is None where nobody knows where it is: then there is neither context nor
    moving of cuts, and `why_not` says so. `scratch` is a folder for temporary files."""

    def __init__(self, root: Path | None, scratch: Path) -> None:
        self.root = root
        self._scratch = scratch
        self._decoded: OrderedDict[str, Decoded] = OrderedDict()
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Load what finds onsets, some seconds' work, before the first slice is looked at."""
        detect(np.zeros((2, SAMPLE_RATE), np.float32))

    def why_not(self, row: Row) -> str | None:
        """Why the recording of a row cannot be had, as a sentence; None where it is there."""
        if self.root is None:
            return f"The folder of recordings is not known. {CURE}"
        if not self._path(row["recording"]).is_file():
            return f"{row['recording']} is not in {self.root}. {CURE}"
        return None

    def decoded(self, row: Row) -> Decoded:
        """The recording of a row; PrepError where it cannot be had or is another one now."""
        if reason := self.why_not(row):
            raise PrepError(reason)
        with self._lock:
            found = self._decoded.get(row["recording"])
            if not found:
                found = self._decode(row["recording"])
            self._decoded[row["recording"]] = found
            self._decoded.move_to_end(row["recording"])
            self._forget()
        if found.pcm_sha256 != row["pcm_sha256"]:
            raise PrepError(
                f"{row['recording']} is not the recording that this slice was cut from: it has changed since. "
                "Run `woodshed prep` again."
            )
        return found

    def stretch(self, row: Row, start: int, end: int) -> np.ndarray:
        """Samples (2, n) of the recording, with the gain of the row; `start` and `end` are cut to what there is."""
        samples = self.decoded(row).samples
        return samples[:, max(0, start) : end] * np.float32(10 ** (row["gain_db"] / 20))

    def cuts(self, row: Row, start: int, end: int) -> list[int]:
        """Where a cut may fall on a hit: 2 ms before each onset between `start` and `end`, in samples."""
        samples = self.decoded(row).samples
        first = max(0, start - MARGIN)
        onsets, _ = detect(np.ascontiguousarray(samples[:, first : end + MARGIN]))
        found = [max(0, first + onset.sample - PRE_ROLL) for onset in onsets]
        return [sample for sample in found if start <= sample <= end]

    def _path(self, name: str) -> Path:
        """The path of a recording; PrepError for a name that leads out of the library."""
        assert self.root is not None
        path = self.root / name
        if (
            Path(name).is_absolute() or ".." in Path(name).parts
        ):  # links in a library may lead where they like
            raise PrepError(
                f"The name {name!r} leads out of the folder of recordings; run `woodshed prep` again."
            )
        return path

    def _decode(self, name: str) -> Decoded:
        try:
            return decode(self._path(name), self._scratch)
        except RecordingFault as fault:
            raise PrepError(f"{name} cannot be read: {fault}.") from fault

    def _forget(self) -> None:
        while len(self._decoded) > 1 and self._samples() > MOST_SAMPLES:
            self._decoded.popitem(last=False)

    def _samples(self) -> int:
        return sum(each.samples.shape[1] for each in self._decoded.values())


def from_here(dataset: Path, library: Path) -> str | None:
    """How a library is reached from a dataset; None on another drive. It names no more of this machine than that,
    and still leads there where both are moved together."""
    try:
        return Path(os.path.relpath(library.resolve(), dataset.resolve())).as_posix()
    except ValueError:
        return None


def library_of(folder: DatasetFolder, given: Path | None) -> Path | None:
    """Where the recordings are: as said, else where the last preparation found them, else nobody knows. PrepError
    for a folder that was said and is not there."""
    if given is not None:
        if not given.is_dir():
            raise PrepError(f"{given} is no folder; give the folder that holds the recordings.")
        return given
    memory = folder.read_state(folder.root / HIDDEN / "prep.json") or {}
    known = memory.get("library")
    library = folder.root / known if isinstance(known, str) else None
    return library if library and library.is_dir() else None
