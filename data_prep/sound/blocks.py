"""Recordings of any length in bounded memory: read in blocks, and let go of what was read.

A recording is an array (2, samples); a long one lies in a file that is mapped into memory (sound_store.py). What is
read of it stays in the process until it is let go, so whatever goes through a whole recording does it by `in_blocks`.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 20
"""Samples at a time: 24 seconds, 8 MB."""


def in_blocks(samples: np.ndarray, size: int = BLOCK) -> Iterator[tuple[int, np.ndarray]]:
    """(where it starts, block) for a recording (2, samples) from beginning to end; the last one is shorter."""
    for start in range(0, samples.shape[1], size):
        yield start, samples[:, start : start + size]
        release(samples)


def window(samples: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Samples start to stop (2, stop - start), which may reach beyond the recording: zeros there."""
    length = samples.shape[1]
    inside = samples[:, min(max(0, start), length) : min(max(0, stop), length)]
    before = min(max(0, -start), stop - start)
    return np.pad(inside, ((0, 0), (before, stop - start - before - inside.shape[1])))


def peak(samples: np.ndarray) -> float:
    """The largest absolute value of a recording."""
    return max((float(np.abs(block).max()) for _, block in in_blocks(samples)), default=0.0)


def release(samples: np.ndarray) -> None:
    """Let go of the pages of a mapped recording; they are read from the file again when they are needed."""
    base: object = samples
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
