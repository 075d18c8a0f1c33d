"""The beats of a take: on one tempo where it keeps to one, else followed from hit to hit as a player drifts.

Following: within windows of eight beats the tempo and the phase at which the hits agree best (the phase of the first
harmonic of onset times, as in Fourier tempograms), each window starting from the one before. Then one smooth line
through all hits that are near a beat or a half of one: least squares with a penalty on changes of tempo (Whittaker's
smoother), hits far from it counting for less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.onsets import Onset
from data_prep.recording import SAMPLE_RATE

WINDOW_BEATS = 8.0
HOP_BEATS = 2.0
FASTER_OR_SLOWER = np.linspace(0.97, 1.03, 25)
"""How far the tempo may go from one window to the next, two beats later."""
FEWEST_IN_WINDOW = 5
NEAR_BEAT = 0.12
"""In beats: how far from a beat, or half a beat, a hit still belongs to it."""
HALF_WEIGHT = 0.5
SMOOTHNESS = 8.0
"""Weight of a change of tempo beside that of a hit: a player's hands are less even than the tempo in the head."""
LOOSE_SECONDS = 0.012
"""Hits that lie farther from the line than this count for less and less."""
STEADY_SECONDS = 0.015
"""A take whose beats stay as near to one tempo keeps to it; hands alone move them by a third of this."""
GIVEN_WEIGHT = 50.0
FEWEST_BEATS = 4


@dataclass(frozen=True)
class Beats:
    """`places`: the samples (not whole numbers) of consecutive quarter notes, from the first beat on, to the end of
    what is played and a little more; `steady` where one tempo gives them all."""

    places: np.ndarray
    steady: bool

    def at(self, beat: float) -> float:
        """The sample of any beat or part of one; beyond the last one the tempo of the last goes on."""
        last = len(self.places) - 1
        whole = min(max(int(np.floor(beat)), 0), last - 1)
        return float(self.places[whole] + (beat - whole) * (self.places[whole + 1] - self.places[whole]))

    def bpm_between(self, first: float, last: float) -> float:
        """The mean tempo between two beats."""
        return (last - first) * 60 * SAMPLE_RATE / (self.at(last) - self.at(first))

    def number_at(self, sample: float) -> float:
        """Which beat, or part of one, a sample is at: 0 up to the first, the last from there on."""
        return float(np.interp(sample, self.places, np.arange(len(self.places))))

    def bpm_over(self, start: float, end: float) -> float:
        """The mean tempo between two samples, as far as there are beats; of one beat at least."""
        first, last = self.number_at(start), self.number_at(end)
        if last - first < 1:
            first = min(first, len(self.places) - 2)
            last = first + 1
        return self.bpm_between(first, last)


def steady_beats(first: float, bpm: float, end: float) -> Beats:
    """Beats on one tempo, from the sample `first` to beyond `end`."""
    beat = 60 / bpm * SAMPLE_RATE
    return Beats(first + beat * np.arange(max(2, int(np.ceil((end - first) / beat)) + 2)), True)


def follow(onsets: list[Onset], first: float, bpm: float, at_start: float, end: float) -> Beats:
    """The beats of hits whose first beat is at the sample `first`, up to the sample `end` and a little more.

    Steady, on `bpm` from `first`, where the hits keep to that; else followed, `at_start` being the tempo in which
    they begin.
    """
    times = np.array([onset.sample for onset in onsets], np.float64) / SAMPLE_RATE
    weights = np.sqrt(np.array([onset.strength for onset in onsets], np.float64))
    for tempo in dict.fromkeys((bpm, at_start)):
        rough = _track(times, weights, first / SAMPLE_RATE, 60 / tempo)
        if len(rough) < FEWEST_BEATS:
            return steady_beats(first, bpm, end)
        places = _smooth(rough, times, weights, first / SAMPLE_RATE)
        away = places - (np.arange(len(places)) * (60 / bpm) + first / SAMPLE_RATE)
        if np.percentile(np.abs(away - np.median(away)), 95) <= STEADY_SECONDS:
            return steady_beats(first, bpm, end)
    period = places[-1] - places[-2]
    more = max(2, int(np.ceil((end / SAMPLE_RATE - places[-1]) / period)) + 1)
    return Beats(np.concatenate([places, places[-1] + period * np.arange(1, more)]) * SAMPLE_RATE, False)


def _track(times: np.ndarray, weights: np.ndarray, first: float, period: float) -> np.ndarray:
    """About where the beats are, in seconds, from window to window."""
    centres, counts = [first], [0.0]  # at `centre` so many beats have passed
    position, count = first, 0.0
    last = times[-1]
    while position < last + period:
        low, high = np.searchsorted(
            times, (position - WINDOW_BEATS / 2 * period, position + WINDOW_BEATS / 2 * period)
        )
        near = times[low:high] - position
        if len(near) >= FEWEST_IN_WINDOW:
            period, ahead = _agree(near, weights[low:high], period, count % 1.0)
            count += ahead
            centres.append(position)
            counts.append(count)
        position += HOP_BEATS * period
        count += HOP_BEATS
    passed = np.maximum.accumulate(np.array(counts))
    keep = np.concatenate([[True], np.diff(passed) > 0])
    beats = np.arange(0, int(passed[-1]) + 1)
    return np.interp(beats, passed[keep], np.array(centres)[keep])


def _agree(near: np.ndarray, weights: np.ndarray, period: float, phase: float) -> tuple[float, float]:
    """The period at which hits near the centre of a window agree best, and by how much of a beat the phase at the
    centre is ahead of `phase`, which was expected: by a sixteenth at most."""
    periods = period * FASTER_OR_SLOWER
    turns = near[None, :] / periods[:, None]
    sums = [np.exp(2j * np.pi * division * turns) @ weights for division in (1, 2, 4)]
    strength = sum(np.abs(each) for each in sums) * np.exp(-0.5 * ((FASTER_OR_SLOWER - 1) / 0.015) ** 2)
    best = int(np.argmax(strength))
    clearest = int(np.argmax([abs(each[best]) for each in sums]))
    part = (1.0, 0.5, 0.25)[clearest]
    found = -np.angle(sums[clearest][best]) / (2 * np.pi) * part
    ahead = (found - phase + part / 2) % part - part / 2
    return float(periods[best]), float(np.clip(ahead, -0.1, 0.1))


def _smooth(rough: np.ndarray, times: np.ndarray, weights: np.ndarray, first: float) -> np.ndarray:
    """The beats in seconds, from `first`, on a smooth line through the hits near beats and half beats."""
    from scipy.linalg import solveh_banded

    beats = rough
    for near_beat in (NEAR_BEAT, NEAR_BEAT, NEAR_BEAT / 2):
        numbers = np.interp(times, beats, np.arange(len(beats)), left=-1, right=-1)
        halves = np.round(2 * numbers).astype(int)
        off = numbers - halves / 2
        kept = (numbers >= 0) & (np.abs(off) <= near_beat) & (halves // 2 < len(beats) - 1)
        half = halves[kept] % 2
        number = halves[kept] // 2
        period = np.diff(beats)[number]
        late = np.median(off[kept][half == 1]) if np.any(half == 1) else 0.0
        target = (
            times[kept] - half * late * period
        )  # swing and laid-back hands: as late as half beats mostly are
        away = off[kept] * period - half * late * period
        trust = weights[kept] * np.where(half == 1, HALF_WEIGHT, 1.0) / (1 + (away / LOOSE_SECONDS) ** 2)
        band, right = _normal_equations(len(beats), number, half / 2, target, trust)
        band[2, 0] += GIVEN_WEIGHT
        right[0] += GIVEN_WEIGHT * first
        beats = np.maximum.accumulate(solveh_banded(band, right))
    return beats


def _normal_equations(
    count: int, number: np.ndarray, part: np.ndarray, target: np.ndarray, trust: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Upper band (3, count) and right side of: hits at `part` of the way from beat `number` to the next, and a
    penalty on second differences."""
    band = np.zeros((3, count))
    right = np.zeros(count)
    stay, go = 1 - part, part
    np.add.at(band[2], number, trust * stay**2)
    np.add.at(band[2], number + 1, trust * go**2)
    np.add.at(band[1], number + 1, trust * stay * go)
    np.add.at(right, number, trust * stay * target)
    np.add.at(right, number + 1, trust * go * target)
    for offset, value in ((0, 1.0), (1, -2.0), (2, 1.0)):
        band[2, offset : count - 2 + offset] += SMOOTHNESS * value**2
    band[1, 1 : count - 1] += -2 * SMOOTHNESS
    band[1, 2:count] += -2 * SMOOTHNESS
    band[0, 2:count] += SMOOTHNESS
    band[2] += 1e-9
    return band, right
