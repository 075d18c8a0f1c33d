"""What is found out about a file block by block while it is decoded: its hash, its clipping, its faults."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np

FULL_SCALE = 0.9999
"""The largest positive 16-bit sample is 0.99997 of full scale."""
RUN = 3
"""As many samples in a row at full scale are clipped."""


class Hearing:
    """Of the blocks that passed by so far: `frames` at the file's rate, `bad_frames` with NaN or infinity, `peak` of
    all channels, `digest` the SHA-256 of the samples, interleaved little-endian float32."""

    def __init__(self) -> None:
        self.frames = 0
        self.bad_frames = 0
        self.peak = 0.0
        self.digest = hashlib.sha256()
        self._clipped: list[np.ndarray] = []
        self._tail: np.ndarray | None = None

    def listen(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Hand on blocks float32 (frames, channels), having listened."""
        for block in blocks:
            self.digest.update(np.ascontiguousarray(block, dtype="<f4").data)
            self._look_at(block)
            self._clipped.append(self.frames + self._clipped_runs(block))
            self.frames += len(block)
            yield block

    def clipped(self) -> np.ndarray:
        """Frames where runs of three or more full-scale samples start, in any channel."""
        return np.concatenate([np.empty(0, np.int64), *self._clipped])

    def _look_at(self, block: np.ndarray) -> None:
        low, high = float(block.min()), float(block.max())
        if np.isfinite(low) and np.isfinite(high):
            self.peak = max(self.peak, -low, high)
        else:
            self.bad_frames += int(np.count_nonzero(~np.isfinite(block).all(axis=1)))

    def _clipped_runs(self, block: np.ndarray) -> np.ndarray:
        """Relative to the block; a run that began in the one before is not counted again."""
        before = block[:0] if self._tail is None else self._tail
        joined = np.concatenate([before, block])
        self._tail = joined[-RUN:].copy()
        full = np.abs(joined) >= FULL_SCALE
        if len(joined) < RUN or not full.any():
            return np.empty(0, np.int64)
        run = full[2:] & full[1:-1] & full[:-2]
        first = run.copy()
        first[1:] &= ~run[:-1]
        first[: max(0, len(before) - RUN + 1)] = False
        return np.flatnonzero(first.any(axis=1)) - len(before)
