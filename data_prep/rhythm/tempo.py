"""Tempo of a recording in quarter notes per minute, with its source and both octaves.

The grid (tempo_grid.py) knows the tempo to half a percent and not always the octave (86 for 172), so the octave is
taken from whoever knows better: user, embedded tag, file name, the user's range; the estimate comes last, and the
other octave is kept beside it. The value is then refined against the onsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.rhythm.loop import exact_loop, loop_tempo
from data_prep.rhythm.onsets import Onset
from data_prep.rhythm.tempo_grid import (
    CHANCE,
    FASTEST_BPM,
    FEWEST_ONSETS,
    PULSE_FROM,
    SLOWEST_BPM,
    coherence,
    grid_scores,
    kept_by,
    pulse_in_parts,
    refine,
)

AGREES_WITHIN = 0.04
CLEARLY_BETTER = 0.1
NAMED_WITHIN = 0.001
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
        return _by_length(onsets, seconds, user_range), warnings
    source = "range" if user_range else "estimate"
    chosen = _best(scores, onsets, *user_range) if user_range else estimate
    played = refine(chosen, onsets)
    bpm = exact_loop(played, onsets, seconds)
    steady = coherence(bpm, onsets)
    least = PULSE_FROM if bpm != played else max(PULSE_FROM, CHANCE / len(onsets) ** 0.5)
    pulse = steady if steady >= least else pulse_in_parts(played, onsets)
    if pulse is None:
        return _by_length(onsets, seconds, user_range), warnings
    return Tempo(round(bpm, 3), source, round(CERTAINTY[source] * min(1.0, pulse), 2), candidates), warnings


def _by_length(onsets: list[Onset], seconds: float, user_range: tuple[float, float] | None) -> Tempo | None:
    """The tempo at which a short loop lasts whole beats, where the hits alone do not tell; none of no loop."""
    bpm = loop_tempo(onsets, seconds, *(user_range or (SLOWEST_BPM, FASTEST_BPM)))
    if bpm is None:
        return None
    source = "range" if user_range else "estimate"
    confidence = round(CERTAINTY[source] * coherence(bpm, onsets), 2)
    return Tempo(round(bpm, 3), source, confidence, (round(bpm, 2), round(2 * bpm, 2)))


def _best(scores: np.ndarray, onsets: list[Onset], lowest: float, highest: float) -> float:
    """Of the five highest peaks of the comb within the range, the one that the onsets also keep to."""
    inside = scores[(scores[:, 0] >= lowest) & (scores[:, 0] <= highest)]
    if not len(inside):
        return (lowest * highest) ** 0.5
    padded = np.pad(inside[:, 1], 1, constant_values=-np.inf)
    peaks = inside[(inside[:, 1] >= padded[:-2]) & (inside[:, 1] >= padded[2:])]
    highest_peaks = peaks[np.argsort(-peaks[:, 1])][:5]
    return float(max(highest_peaks, key=lambda peak: peak[1] * kept_by(float(peak[0]), onsets))[0])


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
