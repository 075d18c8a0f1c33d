"""Which recordings sound alike somewhere, roughly: a first look that spares most pairs the second.

All windows of all shorter recordings are correlated with a longer one in a single matrix product, so that a thousand
recordings are looked through in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

WINDOWS = 4
BLOCK_FRAMES = 2048


def pairs_alike(
    levels: Mapping[str, np.ndarray], window: int, alike_from: float
) -> Iterator[tuple[str, str]]:
    """Pairs (shorter, longer) of which some window of the shorter, of `window` frames or all of it, correlates with a
    stretch of the longer by `alike_from` or more. `levels`: float32 (frames, bands) by name."""
    names = sorted(levels, key=lambda name: (len(levels[name]), name))
    windows = [_windows(levels[name], window) for name in names]
    owners = np.repeat(np.arange(len(names)), [len(each) for each in windows])
    sizes = np.minimum([len(levels[name]) for name in names], window)[owners]
    stacked = np.concatenate(windows) if names else np.empty((0, 0), np.float32)
    for place, name in enumerate(names):
        shorter = int(np.searchsorted(owners, place))
        likeness = _best_likeness(stacked[:shorter], sizes[:shorter], levels[name])
        for other in np.unique(owners[:shorter][likeness >= alike_from]):
            yield names[other], name


def window_starts(frames: int, size: int) -> np.ndarray:
    """Where up to four windows of a recording begin, evenly spread."""
    return np.unique(np.linspace(0, frames - size, WINDOWS).astype(int))


def _windows(levels: np.ndarray, window: int) -> np.ndarray:
    """(windows, window * bands): each around its own mean by band, of length 1, filled up with zeros."""
    size = min(window, len(levels))
    rows = []
    for start in window_starts(len(levels), size) if size else []:
        piece = levels[start : start + size]
        piece = piece - piece.mean(axis=0)
        piece = piece / max(float(np.linalg.norm(piece)), 1e-5)
        rows.append(np.pad(piece, ((0, window - size), (0, 0))).ravel())
    return np.array(rows, np.float32).reshape(-1, window * levels.shape[1])


def _best_likeness(windows: np.ndarray, sizes: np.ndarray, long: np.ndarray) -> np.ndarray:
    """The highest correlation of each window with any stretch of `long`; `sizes` ascend."""
    best = np.full(len(windows), -1.0, np.float32)
    if not len(windows):
        return best
    frames, bands = long.shape
    width = windows.shape[1]
    flat = np.concatenate([long.ravel(), np.zeros(width, np.float32)])
    stretches = np.lib.stride_tricks.sliding_window_view(flat, width)[::bands]
    deviations = {int(size): _deviation(long, int(size)) for size in np.unique(sizes)}
    for start in range(0, frames, BLOCK_FRAMES):
        product = stretches[start : start + BLOCK_FRAMES] @ windows.T
        for size, deviation in deviations.items():
            columns = slice(int(np.searchsorted(sizes, size)), int(np.searchsorted(sizes, size, "right")))
            valid = deviation[start : start + BLOCK_FRAMES]
            if len(valid):
                likeness = (product[: len(valid), columns] / valid[:, None]).max(axis=0)
                best[columns] = np.maximum(best[columns], likeness)
    return best


def _deviation(levels: np.ndarray, size: int) -> np.ndarray:
    """How much every stretch of `size` frames deviates from its own mean by band, a norm: (frames - size + 1,)."""
    none = np.zeros((1, levels.shape[1]))
    sums = np.concatenate([none, np.cumsum(levels, axis=0, dtype=np.float64)])
    squares = np.concatenate([none, np.cumsum(np.square(levels, dtype=np.float64), axis=0)])
    total, power = sums[size:] - sums[:-size], squares[size:] - squares[:-size]
    return np.sqrt(np.maximum((power - total**2 / size).sum(axis=1), 1e-6)).astype(np.float32)
