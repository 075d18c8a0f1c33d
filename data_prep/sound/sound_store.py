"""Where decoded sound is collected: in memory while it is short, else in a temporary file mapped into memory."""

from __future__ import annotations

import mmap
import shutil
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

IN_MEMORY_SAMPLES = 1 << 24
"""Six minutes at 44.1 kHz, 134 MB. What is longer goes to a file, 21 MB for each minute."""
COPY_BYTES = 1 << 24


class SoundStore:
    """Stereo blocks put one after another.

    `scratch` is the folder for temporary files; without one everything stays in memory. The files have no name, or
    lose it when they are closed, so that none is left behind whatever happens. `sums` is the sum
    of each channel, `same_on_both` whether the channels are alike to the last bit.
    """

    def __init__(self, scratch: Path | None) -> None:
        self.scratch = scratch
        self.length = 0
        self.sums = np.zeros(2)
        self.same_on_both = True
        self._blocks: list[np.ndarray] = []
        self._files: list[IO[bytes]] = []

    def append(self, block: np.ndarray) -> None:
        """`block`: float32 (frames, 2). OSError where the disk does not take it."""
        channels = np.ascontiguousarray(block.T, dtype=np.float32)
        self.length += len(block)
        self.sums += channels.sum(axis=1, dtype=np.float64)
        self.same_on_both = self.same_on_both and np.array_equal(channels[0], channels[1])
        self._blocks.append(channels)
        if self.scratch and (self._files or self.length > IN_MEMORY_SAMPLES):
            self._write(self.scratch)

    def finish(self) -> np.ndarray:
        """All of it, float32 (2, samples), each channel in one piece; mapped sound is read-only."""
        if not self._files:
            return np.concatenate([np.empty((2, 0), np.float32), *self._blocks], axis=1)
        left, right = self._files
        right.seek(0)
        shutil.copyfileobj(right, left, COPY_BYTES)
        left.flush()
        right.close()
        mapped = mmap.mmap(left.fileno(), 0, access=mmap.ACCESS_READ)
        left.close()
        return np.frombuffer(mapped, np.float32).reshape(2, -1)

    def _write(self, scratch: Path) -> None:
        if not self._files:
            self._files = [tempfile.TemporaryFile(dir=scratch) for _ in range(2)]  # noqa: SIM115 - closed in finish
        for block in self._blocks:
            for file, channel in zip(self._files, block, strict=True):
                file.write(channel.data)
        self._blocks.clear()
