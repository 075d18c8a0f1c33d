"""How well hits keep to a tempo: the comb over their envelope's autocorrelation, and their coherence with a grid.

The comb: 1, 2, 4, 1/2, 1/4 beat count for a tempo, 2/3 and 4/3 against it, times a log-normal prior around 115. The
coherence: the length of the mean of the hits' phases in a beat, in half and in a quarter of it.

Recordings of any length: the autocorrelation is the mean of windows of 48 s, and tempi are weighed on parts of the
take. A take that drifts keeps a pulse within twenty beats and not over all of it (beats.py follows it).
"""

from __future__ import annotations

import numpy as np

from data_prep.rhythm.onsets import HOP, Onset
from data_prep.sound.recording import SAMPLE_RATE

SLOWEST_BPM, FASTEST_BPM = 40.0, 240.0
PRIOR_BPM = 115.0
PRIOR_OCTAVES = 0.7
SEARCH_WITHIN = 0.03
SUBDIVISIONS = (1, 2, 4)
FEWEST_ONSETS = 8
PULSE_FROM = 0.3
"""Coherence of the onsets with the grid below which there is no pulse to speak of."""
CHANCE = 2.6
"""Hits at random reach a coherence of this over the root of their number, for the best of many tempi tried."""
ABOVE_CHANCE = 0.1
"""What short parts of a take must have more than that, since each may choose its own tempo."""
ENVELOPE_WINDOW = 8192
"""Values of the onset envelope (48 s) of one autocorrelation."""
LONGEST_LAG = 2048
LONG_SECONDS = 45.0
"""What is longer is weighed on parts."""
PART_BEATS, PART_SECONDS = 20, (6.0, 12.0)
MOST_PARTS = 8
DRIFTS_WITHIN = 0.06
"""A take that drifts is looked for this far from its tempo in each part."""


def grid_scores(envelope: np.ndarray) -> np.ndarray:
    """(candidates, 2): bpm from SLOWEST to FASTEST in steps of 0.25 %, and its comb score times the prior."""
    bpm = SLOWEST_BPM * 1.0025 ** np.arange(int(np.log(FASTEST_BPM / SLOWEST_BPM) / np.log(1.0025)) + 1)
    lag = 60 / bpm * SAMPLE_RATE / HOP
    correlation = _autocorrelation(envelope)
    grid = np.arange(len(correlation))

    def at(multiple: float) -> np.ndarray:
        return np.interp(multiple * lag, grid, correlation, right=0.0)

    comb = at(1) + at(2) + at(4) + at(1 / 2) + at(1 / 4) - at(2 / 3) - at(4 / 3)
    return np.stack([bpm, comb * prior(bpm)], axis=1)


def prior(bpm: np.ndarray | float) -> np.ndarray:
    """How common a tempo is, 1 at most."""
    return np.exp(-0.5 * (np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES) ** 2)


def refine(bpm: float, onsets: list[Onset], within: float = SEARCH_WITHIN) -> float:
    """The tempo near `bpm`, by `within` of it at most, whose grid the onsets keep best.

    Over the whole take; of a long one over a part of it, then as far beyond as the take keeps to it.
    """
    times, weights = _times(onsets), _weights(onsets)
    if len(times) < FEWEST_ONSETS:
        return bpm
    if times[-1] - times[0] <= LONG_SECONDS:
        return _refine(bpm, times, weights, within)
    middle = int(np.searchsorted(times, (times[0] + times[-1] - LONG_SECONDS) / 2))
    first, last = middle, int(np.searchsorted(times, times[middle] + LONG_SECONDS))
    if last - first < FEWEST_ONSETS:
        first, last = 0, len(times)
    bpm = _refine(bpm, times[first:last], weights[first:last], within)
    kept = _coherence(bpm, times[first:last], weights[first:last])
    while first > 0 or last < len(times):
        more = (times[last - 1] - times[first]) / 2
        first = int(np.searchsorted(times, times[first] - more))
        last = int(np.searchsorted(times, times[last - 1] + more, "right"))
        longer = _least_squares(bpm, times[first:last], weights[first:last])
        if _coherence(longer, times[first:last], weights[first:last]) < 0.8 * kept:
            break
        bpm = longer
    return bpm


def coherence(bpm: float, onsets: list[Onset]) -> float:
    """0 to 1: how well the onsets keep to beats, halves or quarters of a beat (the mean of the best two)."""
    return _coherence(bpm, _times(onsets), _weights(onsets)) if onsets else 0.0


def kept_by(bpm: float, onsets: list[Onset]) -> float:
    """How well a take keeps to a tempo near `bpm`, over all of it or, if that is better, part by part."""
    seconds = (onsets[-1].sample - onsets[0].sample) / SAMPLE_RATE
    whole = coherence(refine(bpm, onsets), onsets) if seconds <= LONG_SECONDS else 0.0
    return max([whole, *_kept_in_parts(bpm, _parts(onsets, bpm))])


def pulse_in_parts(bpm: float, onsets: list[Onset]) -> float | None:
    """The coherence of a take that drifts, each part by itself; None where that is no more than chance."""
    parts = _parts(onsets, bpm)
    if not parts:
        return None
    pulse = _kept_in_parts(bpm, parts)[0]
    hits = float(np.mean([len(part) for part in parts]))
    return pulse if pulse >= max(PULSE_FROM, CHANCE / hits**0.5) + ABOVE_CHANCE else None


def _kept_in_parts(bpm: float, parts: list[list[Onset]]) -> list[float]:
    """One value, the mean, or none where there are no parts."""
    kept = [coherence(refine(bpm, part, DRIFTS_WITHIN), part) for part in parts]
    return [float(np.mean(kept))] if kept else []


def _parts(onsets: list[Onset], bpm: float) -> list[list[Onset]]:
    """At most eight stretches of twenty beats, 6 to 12 s, spread over the take, with hits enough to tell; none of a
    take that is not longer than one."""
    times = _times(onsets)
    length = float(np.clip(PART_BEATS * 60 / bpm, *PART_SECONDS))
    span = times[-1] - times[0]
    if span < length:
        return []
    starts = np.linspace(times[0], times[-1] - length, min(MOST_PARTS, int(span // length)))
    ends = np.searchsorted(times, starts + length)
    parts = [onsets[a:b] for a, b in zip(np.searchsorted(times, starts), ends, strict=True)]
    return [part for part in parts if len(part) >= 2 * FEWEST_ONSETS]


def _autocorrelation(envelope: np.ndarray) -> np.ndarray:
    """Up to LONGEST_LAG, the mean over windows, 1 at lag 0."""
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(envelope.astype(np.float64), 1.5)
    windows = np.array_split(smooth, max(1, round(len(smooth) / ENVELOPE_WINDOW)))
    total = np.zeros(LONGEST_LAG)
    for window in windows:
        window = window - window.mean()
        size = 1 << (2 * len(window) - 1).bit_length()
        correlation = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)[: min(len(window), LONGEST_LAG)]
        total[: len(correlation)] += correlation
    return total / max(float(total[0]), 1e-12)


def _refine(bpm: float, times: np.ndarray, weights: np.ndarray, within: float) -> float:
    span = max(1.0, times[-1] - times[0])
    step = min(0.002, 0.05 * 60 / (bpm * span * max(SUBDIVISIONS)) * 2)
    tempi = bpm * np.arange(1 - within, 1 + within, step)
    best = float(tempi[int(np.argmax(_coherences(tempi, times, weights)))])
    return _least_squares(best, times, weights)


def _times(onsets: list[Onset]) -> np.ndarray:
    return np.array([onset.sample for onset in onsets], np.float64) / SAMPLE_RATE


def _weights(onsets: list[Onset]) -> np.ndarray:
    return np.sqrt(np.array([onset.strength for onset in onsets], np.float64))


def _coherence(bpm: float, times: np.ndarray, weights: np.ndarray) -> float:
    return float(_coherences(np.array([bpm]), times, weights)[0])


def _coherences(tempi: np.ndarray, times: np.ndarray, weights: np.ndarray) -> np.ndarray:
    turns = np.exp(2j * np.pi / 60 * np.outer(tempi, times))
    kept = []
    for _ in SUBDIVISIONS:  # each is the double of the one before, and so is its phase
        kept.append(np.abs(turns @ weights))
        turns *= turns
    return np.sort(kept, axis=0)[1:].mean(axis=0) / weights.sum()


def _least_squares(bpm: float, times: np.ndarray, weights: np.ndarray) -> float:
    """Straight line through (grid index, time) of the onsets that lie near a line of the sixteenth grid.

    Each of the four sixteenths of a beat may be late in its own way: swing must not tilt the line.
    """
    step = 60 / bpm / 4
    for tolerance in (0.3, 0.2):
        phase = np.angle(np.sum(weights * np.exp(2j * np.pi * times / step))) / (2 * np.pi) * step
        index = np.round((times - phase) / step)
        near = np.abs(times - phase - index * step) <= tolerance * step
        if near.sum() < FEWEST_ONSETS or np.ptp(index[near]) < 4:
            return 60 / step / 4
        number, place, weight = index[near], times[near], weights[near]
        sixteenths = (number[:, None] % 4 == np.arange(4)).astype(float)
        sixteenths = sixteenths[:, sixteenths.sum(axis=0) > 0]
        design = np.column_stack([number - number.mean(), sixteenths]) * weight[:, None]
        step = float(np.linalg.lstsq(design, place * weight, rcond=None)[0][0])
    return 60 / step / 4
