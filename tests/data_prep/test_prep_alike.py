"""The first look for copies finds what looking at each pair of recordings finds."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from data_prep.duplicates.alike import pairs_alike, window_starts

WINDOW, BANDS = 20, 3


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    return float((one * other).sum() / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9))


def best_likeness(short: np.ndarray, long: np.ndarray) -> float:
    """Every window against every stretch, one by one."""
    size = min(WINDOW, len(short))
    return max(
        correlation(short[start : start + size], long[place : place + size])
        for start in window_starts(len(short), size)
        for place in range(len(long) - size + 1)
    )


@pytest.mark.parametrize("alike_from", [0.3, 0.5, 0.8])
def test_the_pairs_are_those_that_correlate_somewhere(alike_from, monkeypatch):
    monkeypatch.setattr("data_prep.duplicates.alike.BLOCK_FRAMES", 16)
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 10, (70, BANDS)).astype(np.float32)
    levels = {
        f"{size:02d}": rng.normal(0, 10, (size, BANDS)).astype(np.float32) for size in (1, 4, 15, 20, 33, 60)
    }
    levels |= {"copy": noise[10:50] + 1, "other copy": noise, "short copy": noise[30:42]}
    expected = set()
    for one, other in combinations(levels, 2):
        short, long = sorted((one, other), key=lambda name: (len(levels[name]), name))
        if best_likeness(levels[short], levels[long]) >= alike_from:
            expected.add((short, long))
    assert set(pairs_alike(levels, WINDOW, alike_from)) == expected
    assert {("copy", "other copy"), ("short copy", "copy")} <= expected


def test_nothing_is_alike_where_nothing_is():
    assert list(pairs_alike({}, WINDOW, 0.8)) == []
    assert list(pairs_alike({"one": np.ones((5, BANDS), np.float32)}, WINDOW, 0.8)) == []
