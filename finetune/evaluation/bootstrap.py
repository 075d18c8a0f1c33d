"""How sure a figure is: the same figure on many resamplings of the clips it was measured on (Efron 1979)."""

from __future__ import annotations

import numpy as np


def resample_counts(items: int, draws: int, seed: int) -> np.ndarray:
    """(draws, items) how often each item is drawn when `items` are drawn with replacement.

    A draw of one item alone says nothing about pairs and is drawn again; ValueError for fewer than two items.
    """
    if items < 2:
        raise ValueError("Resampling needs two items or more.")
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(items, np.full(items, 1 / items), size=draws)
    while (alone := (counts > 0).sum(axis=1) < 2).any():
        counts[alone] = rng.multinomial(items, np.full(items, 1 / items), size=int(alone.sum()))
    return counts


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of the resampled values: the percentile interval."""
    outside = 50 * (1 - level)
    low, high = np.percentile(values, [outside, 100 - outside])
    return float(low), float(high)
