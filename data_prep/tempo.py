"""Tempo of a recording in quarter notes per minute, with its source and both octaves.

The grid: a comb over the autocorrelation of the onset envelope (1, 2, 4, 1/2, 1/4 beat count for, 2/3 and 4/3
against), times a log-normal prior around 115. It knows the tempo to half a percent and not always the octave (86
for 172), so the octave is taken from whoever knows better: user, embedded tag, file name, the user's range; the
estimate comes last, and the other octave is kept beside it. The value is then refined against every onset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.onsets import HOP, Onset
from data_prep.recording import SAMPLE_RATE

SLOWEST_BPM, FASTEST_BPM = 40.0, 240.0
PRIOR_BPM = 115.0
PRIOR_OCTAVES = 0.7
AGREES_WITHIN = 0.04
SEARCH_WITHIN = 0.03
SUBDIVISIONS = (1, 2, 4)
FEWEST_ONSETS = 8
PULSE_FROM = 0.3
"""Coherence of the onsets with the grid below which there is no pulse to speak of."""
CHANCE = 2.6
"""Hits at random reach a coherence of this over the root of their number, for the best of many tempi tried."""
CLEARLY_BETTER = 0.1
NAMED_WITHIN = 0.001
LOOP_WITHIN = 0.01
LOOP_LONGEST_SECONDS = 30.0
LOOP_EDGE_SECONDS = 0.03
CERTAINTY = {"user": 1.0, "tag": 0.95, "name": 0.95, "range": 0.85, "estimate": 0.75}
"""How often each source is right about the octave, on the takes that this was measured on."""


@dataclass(frozen=True)
class Tempo:
    """`bpm` and where it comes from; `candidates` are the estimate and its other octave, likelier first."""

    bpm: float
    source: str
    confidence: float
    candidates: tuple[float, ...]


def find_tempo(
    onsets: list[Onset],
    envelope: np.ndarray,
    seconds: float,
    *,
    user_bpm: float | None = None,
    user_range: tuple[float, float] | None = None,
    tag_bpm: float | None = None,
    named_bpm: tuple[float, ...] = (),
) -> tuple[Tempo | None, list[str]]:
    """The tempo, or None where nothing keeps a pulse, and warnings about statements that do not fit the sound."""
    scores = grid_scores(envelope)
    estimate = _best(scores, onsets, SLOWEST_BPM, FASTEST_BPM) if len(onsets) >= FEWEST_ONSETS else None
    candidates = (
        tuple(round(refine(bpm, onsets), 2) for bpm in _octaves(estimate, scores)) if estimate else ()
    )
    if user_bpm is not None:
        return Tempo(user_bpm, "user", 1.0, candidates), _doubt("--bpm", user_bpm, candidates)
    warnings: list[str] = []
    for source, stated in [("tag", tag_bpm), *(("name", bpm) for bpm in named_bpm)]:
        if stated is None or not _inside(stated, user_range):
            continue
        if estimate is None or _fits(stated, candidates, onsets):
            bpm = _settle(stated, onsets) if estimate else stated
            return Tempo(bpm, source, CERTAINTY[source], candidates), []
        if source == "tag":
            warnings += _doubt("the embedded tag", stated, candidates, "it is not used")
    if estimate is None:
        return None, warnings
    source = "range" if user_range else "estimate"
    chosen = _best(scores, onsets, *user_range) if user_range else estimate
    played = refine(chosen, onsets)
    bpm = _exact_loop(played, onsets, seconds)
    pulse = coherence(bpm, onsets)
    if pulse < (PULSE_FROM if bpm != played else max(PULSE_FROM, CHANCE / len(onsets) ** 0.5)):
        return None, warnings
    return Tempo(round(bpm, 3), source, round(CERTAINTY[source] * min(1.0, pulse), 2), candidates), warnings


def grid_scores(envelope: np.ndarray) -> np.ndarray:
    """(candidates, 2): bpm from SLOWEST to FASTEST in steps of 0.25 %, and its comb score times the prior."""
    bpm = SLOWEST_BPM * 1.0025 ** np.arange(int(np.log(FASTEST_BPM / SLOWEST_BPM) / np.log(1.0025)) + 1)
    lag = 60 / bpm * SAMPLE_RATE / HOP
    correlation = _autocorrelation(envelope)
    grid = np.arange(len(correlation))

    def at(multiple: float) -> np.ndarray:
        return np.interp(multiple * lag, grid, correlation, right=0.0)

    comb = at(1) + at(2) + at(4) + at(1 / 2) + at(1 / 4) - at(2 / 3) - at(4 / 3)
    prior = np.exp(-0.5 * (np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES) ** 2)
    return np.stack([bpm, comb * prior], axis=1)


def refine(bpm: float, onsets: list[Onset]) -> float:
    """The tempo within 3 % of `bpm` whose grid the onsets keep best over the whole take."""
    times, weights = _times(onsets), _weights(onsets)
    if len(times) < FEWEST_ONSETS:
        return bpm
    span = max(1.0, times[-1] - times[0])
    step = min(0.002, 0.05 * 60 / (bpm * span * max(SUBDIVISIONS)) * 2)
    factors = np.arange(1 - SEARCH_WITHIN, 1 + SEARCH_WITHIN, step)
    fits = np.array([_coherence(bpm * factor, times, weights) for factor in factors])
    best = bpm * float(factors[int(np.argmax(fits))])
    return _least_squares(best, times, weights)


def coherence(bpm: float, onsets: list[Onset]) -> float:
    """0 to 1: how well the onsets keep to beats, halves or quarters of a beat (the mean of the best two)."""
    return _coherence(bpm, _times(onsets), _weights(onsets)) if onsets else 0.0


def grid_phase(bpm: float, onsets: list[Onset]) -> float:
    """Seconds (modulo a quarter of a beat) at which the lines of the sixteenth grid lie on average."""
    step = 60 / bpm / 4
    turn = np.sum(_weights(onsets) * np.exp(2j * np.pi * _times(onsets) / step))
    return float(np.angle(turn) / (2 * np.pi) * step) % step


def _autocorrelation(envelope: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    smooth = gaussian_filter1d(envelope.astype(np.float64), 1.5)
    smooth -= smooth.mean()
    size = 1 << (2 * len(smooth) - 1).bit_length()
    spectrum = np.fft.rfft(smooth, size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: len(smooth)]
    return correlation / max(float(correlation[0]), 1e-12)


def _best(scores: np.ndarray, onsets: list[Onset], lowest: float, highest: float) -> float:
    """Of the five highest peaks of the comb within the range, the one that the onsets also keep to."""
    inside = scores[(scores[:, 0] >= lowest) & (scores[:, 0] <= highest)]
    if not len(inside):
        return (lowest * highest) ** 0.5
    padded = np.pad(inside[:, 1], 1, constant_values=-np.inf)
    peaks = inside[(inside[:, 1] >= padded[:-2]) & (inside[:, 1] >= padded[2:])]
    highest_peaks = peaks[np.argsort(-peaks[:, 1])][:5]
    return float(max(highest_peaks, key=lambda peak: peak[1] * coherence(refine(peak[0], onsets), onsets))[0])


def _octaves(bpm: float, scores: np.ndarray) -> tuple[float, float]:
    """`bpm` and the likelier of its double and its half."""

    def score(value: float) -> float:
        return float(np.interp(value, scores[:, 0], scores[:, 1], left=-9.0, right=-9.0))

    return bpm, max(2 * bpm, bpm / 2, key=score)


def _inside(bpm: float, user_range: tuple[float, float] | None) -> bool:
    return user_range is None or user_range[0] <= bpm <= user_range[1]


def _fits(stated: float, candidates: tuple[float, ...], onsets: list[Onset]) -> bool:
    """Whether the stated tempo is one of the candidates, or keeps the onsets better than they do."""
    if any(_agree(stated, candidate) for candidate in candidates):
        return True
    heard = max(coherence(candidate, onsets) for candidate in candidates)
    return coherence(refine(stated, onsets), onsets) > heard + CLEARLY_BETTER


def _agree(stated: float, candidate: float) -> bool:
    """Within 4 %, up to an octave."""
    return any(abs(stated / (candidate * octave) - 1) <= AGREES_WITHIN for octave in (1, 2, 1 / 2))


def _doubt(
    who: str, stated: float, candidates: tuple[float, ...], verdict: str = "it is used as stated"
) -> list[str]:
    if not candidates or any(_agree(stated, candidate) for candidate in candidates):
        return []
    heard = " or ".join(f"{candidate:g}" for candidate in candidates)
    return [f"{who} says {stated:g} BPM, the sound says {heard}; {verdict}"]


def _settle(stated: float, onsets: list[Onset]) -> float:
    """The stated tempo itself where the take keeps it within 0.1 %, else the tempo really played near it."""
    played = refine(stated, onsets)
    if abs(played / stated - 1) <= NAMED_WITHIN or coherence(played, onsets) < PULSE_FROM:
        return stated
    return round(played, 3)


def _exact_loop(bpm: float, onsets: list[Onset], seconds: float) -> float:
    """A short recording that starts on its first hit and lasts a whole number of beats is cut to the beat."""
    if seconds > LOOP_LONGEST_SECONDS or onsets[0].sample > LOOP_EDGE_SECONDS * SAMPLE_RATE:
        return bpm
    beats = max((4, 8, 16, 32, 64), key=lambda count: -abs(np.log(60 * count / seconds / bpm)))
    exact = 60 * beats / seconds
    return exact if abs(exact / bpm - 1) <= LOOP_WITHIN else bpm


def _times(onsets: list[Onset]) -> np.ndarray:
    return np.array([onset.sample for onset in onsets], np.float64) / SAMPLE_RATE


def _weights(onsets: list[Onset]) -> np.ndarray:
    return np.sqrt(np.array([onset.strength for onset in onsets], np.float64))


def _coherence(bpm: float, times: np.ndarray, weights: np.ndarray) -> float:
    turns = [
        abs(np.sum(weights * np.exp(2j * np.pi * times * bpm / 60 * division))) / weights.sum()
        for division in SUBDIVISIONS
    ]
    return float(np.mean(sorted(turns)[1:]))


def _least_squares(bpm: float, times: np.ndarray, weights: np.ndarray) -> float:
    """Straight line through (grid index, time) of the onsets that lie near a line of the sixteenth grid."""
    step = 60 / bpm / 4
    for tolerance in (0.3, 0.2):
        phase = np.angle(np.sum(weights * np.exp(2j * np.pi * times / step))) / (2 * np.pi) * step
        index = np.round((times - phase) / step)
        near = np.abs(times - phase - index * step) <= tolerance * step
        if near.sum() < FEWEST_ONSETS or np.ptp(index[near]) < 4:
            return 60 / step / 4
        step = float(np.polyfit(index[near], times[near], 1, w=weights[near])[0])
    return 60 / step / 4
