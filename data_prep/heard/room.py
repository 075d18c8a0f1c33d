"""How much of a room is heard: from how hits die away where nothing else is struck.

Dry: within 0.15 s a hit is 45 dB down, faster than sound dies in a room that one hears. Roomy: after its first fall
a hit dies away slowly, evenly and as noise, as sound does in a room (Schroeder 1965); cymbals that ring do not fall
first, and skins that ring have a pitch. Most recordings are neither so dry nor so plainly roomy, and nothing is said
of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.fact import fact
from data_prep.rhythm.onsets import Onset
from data_prep.sound.recording import SAMPLE_RATE

STEP = round(0.01 * SAMPLE_RATE)
ALONE_SECONDS = 0.3
"""A hit is looked at where the next one is no closer."""
LOOKED_AT_SECONDS = 0.6
FEWEST_HITS, SHARE = 4, 0.7
DRY_FALL_DB, DRY_SECONDS = 45.0, 0.15
FIRST_FALL_DB, FIRST_SECONDS = 7.0, 0.06
TAIL_DB = (-8.0, -24.0)
TAIL_T60 = (0.45, 4.0)
STRAIGHT = 0.97
ABOVE_FLOOR_DB = 6.0
NOISE_AT_SECONDS, NOISE_WINDOW, NOISE_HZ = 0.1, 4096, (300, 5000)
NOISY = 0.1
"""Flatness of the spectrum of a tail, from which on it is noise."""


@dataclass(frozen=True)
class _Tail:
    """How a hit dies away: `level` in dB every 10 ms, and whether what is left after 0.1 s is noise."""

    level: np.ndarray
    noisy: bool


def room(samples: np.ndarray, onsets: list[Onset]) -> dict[str, dict[str, Any]]:
    """The fact `room` of (2, samples): `dry`, `roomy`, or nothing where it is neither or cannot be told."""
    level = _level_db(samples)
    ends = [*(onset.sample for onset in onsets[1:]), samples.shape[1]]
    tails = []
    for onset, end in zip(onsets, ends, strict=True):
        stop = min(end, onset.sample + round(LOOKED_AT_SECONDS * SAMPLE_RATE))
        if stop - onset.sample >= ALONE_SECONDS * SAMPLE_RATE:
            part = samples[:, onset.sample + round(NOISE_AT_SECONDS * SAMPLE_RATE) :][:, :NOISE_WINDOW]
            tails.append(_Tail(level[onset.sample // STEP : stop // STEP], _flatness(part) >= NOISY))
    if len(tails) < FEWEST_HITS:
        return {}
    floor = float(np.percentile(level, 1))
    shares = {
        "dry": float(np.mean([_is_dry(tail) for tail in tails])),
        "roomy": float(np.mean([_is_roomy(tail, floor) for tail in tails])),
    }
    word = max(shares, key=lambda each: shares[each])
    if shares[word] < SHARE:
        return {}
    return {"room": fact(word, "measurement", 0.5 + shares[word] / 2)}


def _flatness(samples: np.ndarray) -> float:
    """Geometric over arithmetic mean of the power between NOISE_HZ, of the channel that has more."""
    if samples.shape[1] < NOISE_WINDOW:
        return 0.0
    power = np.abs(np.fft.rfft(samples * np.hanning(NOISE_WINDOW).astype(np.float32), axis=1)) ** 2
    low, high = (round(hertz * NOISE_WINDOW / SAMPLE_RATE) for hertz in NOISE_HZ)
    inside = power[int(np.argmax(power.sum(axis=1))), low:high] + 1e-20
    return float(np.exp(np.log(inside).mean()) / inside.mean())


def _level_db(samples: np.ndarray) -> np.ndarray:
    count = samples.shape[1] // STEP
    power = np.square(samples[:, : count * STEP]).mean(axis=0).reshape(count, STEP).mean(axis=1)
    return 10 * np.log10(power + 1e-12)


def _is_dry(tail: _Tail) -> bool:
    level = tail.level
    peak = int(np.argmax(level[:10]))
    end = peak + round(DRY_SECONDS * SAMPLE_RATE / STEP)
    return len(level) > end and bool(level[end:].max() <= level[peak] - DRY_FALL_DB)


def _is_roomy(tail: _Tail, floor: float) -> bool:
    """A fall at once, then a straight line in dB, above the noise, as long as a room's."""
    level = tail.level
    peak = int(np.argmax(level[:10]))
    relative = level[peak:] - level[peak]
    first = round(FIRST_SECONDS * SAMPLE_RATE / STEP)
    if not tail.noisy or len(relative) <= first or relative[first] > -FIRST_FALL_DB:
        return False
    inside = np.flatnonzero(
        (relative <= TAIL_DB[0]) & (relative >= TAIL_DB[1]) & (level[peak:] > floor + ABOVE_FLOOR_DB)
    )
    inside = inside[inside >= first]
    if len(inside) < 12:
        return False
    seconds = inside * STEP / SAMPLE_RATE
    slope, start = np.polyfit(seconds, relative[inside], 1)
    left = relative[inside] - (slope * seconds + start)
    straight = 1 - float(np.var(left) / max(np.var(relative[inside]), 1e-9))
    return straight >= STRAIGHT and TAIL_T60[0] <= -60 / min(slope, -1e-3) <= TAIL_T60[1]
