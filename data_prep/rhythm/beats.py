"""The beats of a take: on one tempo where it keeps to one, else followed from hit to hit as a player drifts.

Following: within windows of eight beats how well the hits agree on each tempo near the one they start with (a Fourier
tempogram), the likeliest path through these, and along it the phase of the hits. Then one smooth line
through all hits that are near a beat or a half of one: least squares with a penalty on changes of tempo (Whittaker's
smoother), hits far from it counting for less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.rhythm.onsets import Onset
from data_prep.sound.recording import SAMPLE_RATE

WINDOW_BEATS = 8.0
HOP_BEATS = 2.0
FACTORS = np.linspace(0.85, 1.15, 61)
"""Of the tempo that a take starts with: how far it may drift."""
CHANGE_COST = 0.0015
"""What it costs to go from one tempo to another, two beats later, for half a percent and its square, beside how well
the hits keep to them."""
PARTS = (1.0, 0.5, 0.25)
"""Of a beat, in which the phases of hits are looked at."""
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
SAID_WEIGHT, FOUND_WEIGHT = 50.0, 0.2
"""How much the first beat stays where it was put, beside a hit."""
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


def follow(
    onsets: list[Onset], first: float, bpm: float, at_start: float, end: float, *, said: bool
) -> Beats:
    """The beats of hits whose first beat is at the sample `first`, up to the sample `end` and a little more.

    Steady, on `bpm` from `first`, where the hits keep to that; else followed, `at_start` being the tempo in which
    they begin. Where `first` is `said` by a player it stays there.
    """
    times = np.array([onset.sample for onset in onsets], np.float64) / SAMPLE_RATE
    weights = np.sqrt(np.array([onset.strength for onset in onsets], np.float64))
    for tempo in dict.fromkeys((bpm, at_start)):
        rough = _track(times, weights, first / SAMPLE_RATE, 60 / tempo)
        if len(rough) < FEWEST_BEATS:
            return steady_beats(first, bpm, end)
        places = _smooth(rough, times, weights, first / SAMPLE_RATE, SAID_WEIGHT if said else FOUND_WEIGHT)
        away = places - (np.arange(len(places)) * (60 / bpm) + first / SAMPLE_RATE)
        if np.percentile(np.abs(away - np.median(away)), 95) <= STEADY_SECONDS:
            return steady_beats(first, bpm, end)
    period = places[-1] - places[-2]
    more = max(2, int(np.ceil((end / SAMPLE_RATE - places[-1]) / period)) + 1)
    return Beats(np.concatenate([places, places[-1] + period * np.arange(1, more)]) * SAMPLE_RATE, False)


def _track(times: np.ndarray, weights: np.ndarray, first: float, period: float) -> np.ndarray:
    """About where the beats are, in seconds: the tempo of each window, and from it the number of beats so far, put
    right by the phase of the hits."""
    centres = np.arange(first, times[-1] + period, HOP_BEATS * period)
    reach = WINDOW_BEATS / 2 * period
    bounds = np.searchsorted(times, (centres - reach, centres + reach))
    windows = [(times[a:b] - centre, weights[a:b]) for centre, a, b in zip(centres, *bounds, strict=True)]
    periods = period / FACTORS
    kept = np.stack([_kept(near, weight, periods) for near, weight in windows])
    chosen = periods[_likeliest(kept)]
    counts = [0.0]
    for number in range(1, len(centres)):
        mean = (chosen[number] + chosen[number - 1]) / 2
        count = counts[-1] + (centres[number] - centres[number - 1]) / mean
        near, weight = windows[number]
        if len(near) >= FEWEST_IN_WINDOW:
            count += _ahead(near, weight, chosen[number], count)
        counts.append(count)
    passed = np.maximum.accumulate(np.array(counts))
    distinct = np.concatenate([[True], np.diff(passed) > 0])
    return np.interp(np.arange(0, int(passed[-1]) + 1), passed[distinct], centres[distinct])


def _sums(near: np.ndarray, weights: np.ndarray, periods: np.ndarray) -> list[np.ndarray]:
    """The sums of the phases of hits in a beat, half a beat and a quarter, for each period."""
    turns = np.exp(2j * np.pi * near[None, :] / periods[:, None])
    sums = []
    for _ in PARTS:  # each is the half of the one before, its phase the double
        sums.append(turns @ weights)
        turns = turns * turns
    return sums


def _kept(near: np.ndarray, weights: np.ndarray, periods: np.ndarray) -> np.ndarray:
    """How well the hits of a window keep to each period, 0 to 1; nothing where there are too few to tell."""
    if len(near) < FEWEST_IN_WINDOW:
        return np.zeros(len(periods))
    return sum(np.abs(each) for each in _sums(near, weights, periods)) / (len(PARTS) * weights.sum())


def _likeliest(kept: np.ndarray) -> np.ndarray:
    """Which tempo of each window, so that the hits keep to them best and none is far from the one before (Viterbi).
    `kept`: (windows, tempi). The first one is the tempo it was started with, or near it."""
    number = np.arange(kept.shape[1])
    costs = CHANGE_COST * (number[:, None] - number[None, :]) ** 2
    score = kept[0] - costs[kept.shape[1] // 2]
    back = np.zeros(kept.shape, np.int64)
    for window in range(1, len(kept)):
        before = score[None, :] - costs
        back[window] = np.argmax(before, axis=1)
        score = before[number, back[window]] + kept[window]
    path = [int(np.argmax(score))]
    for window in range(len(kept) - 1, 0, -1):
        path.append(int(back[window, path[-1]]))
    return np.array(path[::-1])


def _ahead(near: np.ndarray, weights: np.ndarray, period: float, count: float) -> float:
    """By how much of a beat the hits are ahead of `count` beats at the centre of their window, a tenth at most."""
    sums = [each[0] for each in _sums(near, weights, np.array([period]))]
    clearest = int(np.argmax(np.abs(sums)))
    part = PARTS[clearest]
    found = -np.angle(sums[clearest]) / (2 * np.pi) * part
    return float(np.clip((found - count + part / 2) % part - part / 2, -0.1, 0.1))


def _smooth(
    rough: np.ndarray, times: np.ndarray, weights: np.ndarray, first: float, first_weight: float
) -> np.ndarray:
    """The beats in seconds, from about `first`, on a smooth line through the hits near beats and half beats."""
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
        band[2, 0] += first_weight
        right[0] += first_weight * first
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
