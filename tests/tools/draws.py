"""Seeded numbers, the same on every machine: Philox's counter and exact arithmetic, no library's own drawing."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np
import torch

BLOCK = 1 << 22  # values in memory at a time
SQRT_3 = np.float32(math.sqrt(3.0))


def unit_blocks(name: str, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """`count` float32 values in blocks: uniform, mean 0, variance 1. They depend on `seed` and `name` alone."""
    for bits in _bits(name, count, seed):
        whole = (bits >> np.uint32(8)).astype(np.float32)
        yield (whole * np.float32(2.0**-23) - np.float32(1)) * SQRT_3


def draw(name: str, *shape: int, scale: float = 1.0) -> torch.Tensor:
    """A float32 tensor of uniform values with standard deviation `scale`."""
    values = np.concatenate(list(unit_blocks(name, math.prod(shape))))
    return torch.from_numpy(values).reshape(shape) * scale


def draw_places(name: str, count: int, below: int) -> torch.Tensor:
    """(count,) whole numbers from 0 to `below` - 1."""
    return torch.from_numpy(np.concatenate(list(_bits(name, count, 0))).astype(np.int64) % below)


def draw_signs(name: str, count: int) -> torch.Tensor:
    """(count,) float64, each -1 or 1."""
    return torch.from_numpy((np.concatenate(list(_bits(name, count, 0))) & 1) * 2.0 - 1.0)


def _bits(name: str, count: int, seed: int) -> Iterator[np.ndarray]:
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    source = np.random.Philox(key=np.frombuffer(digest[:16], dtype="<u8"))
    while count:
        block = min(count, BLOCK)
        yield source.random_raw((block + 1) // 2).astype("<u8", copy=False).view("<u4")[:block]
        count -= block
