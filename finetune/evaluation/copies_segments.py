"""Stretches of two sounds that are alike: what both detectors of near copies share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

WINDOW_SECONDS, STEP_SECONDS = 2.0, 1.0
"""Of a sound, windows of this length are looked for, one in each step; a shorter sound is looked for whole."""
CANDIDATES = 3
"""Clips that a first, rough look leaves for the second, for each sound."""
AGREE_SECONDS = 0.005
EDGE_SECONDS = 0.5
"""By how much a window may stand out over either end of a clip."""
QUIET_POWER = 1e-4
"""Stretches this far below the mean of their sound are no music."""
FALLS_BY = 0.05
"""A copy reaches as far as its likeness does not fall by more."""


@dataclass(frozen=True)
class Match:
    """Where a sound and a clip (its index) are alike, by how much (0..1), and at what speed the clip is played.

    The likeness is that of `compared_seconds` where it is highest; they are about as alike for `length_seconds`.
    """

    clip: int
    likeness: float
    compared_seconds: float
    speed: float
    sound_seconds: float
    clip_seconds: float
    length_seconds: float


@dataclass(frozen=True)
class Candidate:
    """A clip to be looked at closely: `lag` is where in the clip the sound's own beginning would be, in seconds of
    the clip; `at` is where in the sound the window that was found begins."""

    clip: int
    likeness: float
    speed: float
    lag: float
    at: float


def window_starts(length: int, size: int, step: int) -> list[int]:
    """Where windows of `size` begin in `length`, the last one at its end."""
    if length <= size:
        return [0]
    return sorted({*range(0, length - size + 1, step), length - size})


def keep_likelier(best: dict[int, Candidate], candidate: Candidate) -> None:
    """Keep the likeliest candidate of each clip."""
    if candidate.clip not in best or candidate.likeness > best[candidate.clip].likeness:
        best[candidate.clip] = candidate


def best_of(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The likeliest."""
    return sorted(candidates, key=lambda each: -each.likeness)[:CANDIDATES]


def agreed_on(windows: Sequence[Candidate]) -> Candidate:
    """Of the windows of a sound in one clip, the one whose lag most of the others share, with their summed likeness."""
    lags, likeness = (np.array([getattr(each, name) for each in windows]) for name in ("lag", "likeness"))
    together = (np.abs(lags[:, None] - lags) <= AGREE_SECONDS) @ likeness
    at = int(np.argmax(together))
    return replace(windows[at], likeness=float(together[at]))


def likeliest(matches: Iterable[Match]) -> list[Match]:
    """The likeliest first."""
    return sorted(matches, key=lambda each: -each.likeness)


def running_correlation(
    one: np.ndarray, other: np.ndarray, size: int, step: int, centred: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Starts, and the correlation there, of windows of `size` of two aligned (samples, bands) arrays.

    `centred` takes each band around its own mean in each window. Where either is too quiet the correlation is 0.
    """
    starts = np.array(window_starts(len(one), size, step))
    ends = starts + min(size, len(one))
    product = _sums(one * other, starts, ends).sum(axis=1)
    powers = [_sums(np.square(each), starts, ends).sum(axis=1) for each in (one, other)]
    if centred:
        totals = [_sums(each, starts, ends) for each in (one, other)]
        count = ends[0] - starts[0]
        product -= (totals[0] * totals[1]).sum(axis=1) / count
        powers = [
            power - np.square(total).sum(axis=1) / count for power, total in zip(powers, totals, strict=True)
        ]
    floors = [
        QUIET_POWER * max(float(np.square(each).sum()), 1e-12) * min(size, len(one)) / len(one)
        for each in (one, other)
    ]
    loud = (powers[0] > floors[0]) & (powers[1] > floors[1])
    scale = np.sqrt(np.where(loud, powers[0] * powers[1], 1.0))
    return starts, np.where(loud, product / scale, 0.0)


def _sums(values: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(windows, bands) sums of (samples, bands) between starts and ends."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0, dtype=np.float64)])
    return total[ends] - total[starts]


def extent(likeness: np.ndarray) -> tuple[int, int, int]:
    """The likeliest window, and the first and last of its neighbours that are about as alike."""
    best = int(np.argmax(likeness))
    alike = likeness >= likeness[best] - FALLS_BY
    first = last = best
    while first > 0 and alike[first - 1]:
        first -= 1
    while last + 1 < len(alike) and alike[last + 1]:
        last += 1
    return best, first, last
