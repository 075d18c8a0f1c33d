"""The key of pitched material, and none for drums.

Partials that last, of several pitch classes, all tuned to one scale of semitones: drums and bells have partials
anywhere between them. Only then is the key looked for, by correlation with the profiles of Krumhansl and Kessler
(1982).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from data_prep.fact import fact
from data_prep.sound.recording import SAMPLE_RATE

WINDOW, HOP = 8192, 4096
LOWEST_HZ, HIGHEST_HZ = 130.0, 2100.0
SHORTEST_SECONDS = 2.0
STANDS_OUT = 16.0
"""A partial's power beside the median of half an octave around it."""
LASTING_SHARE = 0.35
"""Share of the power, from the lowest to the highest partial looked at, that is in partials that last."""
IN_TUNE = 0.8
"""How closely partials agree on a tuning: 1 is exactly, 0 is anywhere."""
PITCH_CLASSES, LEAST_OF_EACH = 5, 0.04
CORRELATES, AHEAD = 0.8, 0.12
NAMES = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def key(samples: np.ndarray) -> dict[str, dict[str, Any]]:
    """The fact `key` of (2, samples), or nothing."""
    if samples.shape[1] < SHORTEST_SECONDS * SAMPLE_RATE:
        return {}
    octaves, power, share = _lasting_partials(samples.mean(axis=0))
    if share < LASTING_SHARE or not len(octaves):
        return {}
    semitones = octaves * 12
    turn = (power * np.exp(2j * np.pi * semitones)).sum() / power.sum()
    if abs(turn) < IN_TUNE:
        return {}
    tuned = np.round(semitones - np.angle(turn) / (2 * np.pi)).astype(int) % 12
    classes = np.bincount(tuned, power, 12) / power.sum()
    if (classes >= LEAST_OF_EACH).sum() < PITCH_CLASSES:
        return {}
    return _best(classes)


def _lasting_partials(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Octaves above C (of any octave, at 440 Hz tuning) and power of the partials that last through two windows, and
    their share of all power."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    hertz = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    inside = np.flatnonzero((hertz >= LOWEST_HZ) & (hertz <= HIGHEST_HZ))
    taper = np.hanning(WINDOW).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * taper, axis=1)[:, inside[0] - 1 : inside[-1] + 2]) ** 2
    lasting = np.minimum(power[1:], power[:-1])
    centre = lasting[:, 1:-1]
    peak = (centre >= lasting[:, :-2]) & (centre > lasting[:, 2:])
    around = np.median(centre, axis=1, keepdims=True)
    local = np.stack([np.median(part, axis=1) for part in np.array_split(centre, 8, axis=1)], axis=1)
    floor = np.repeat(local, [part.shape[1] for part in np.array_split(centre, 8, axis=1)], axis=1)
    rows, columns = np.nonzero(peak & (centre > STANDS_OUT * np.maximum(floor, 0.1 * around)))
    if not len(rows):
        return np.zeros(0), np.zeros(0), 0.0
    left, middle, right = (np.log(lasting[rows, columns + shift] + 1e-20) for shift in (0, 1, 2))
    offset = 0.5 * (left - right) / np.minimum(left - 2 * middle + right, -1e-9)
    found = (inside[columns] + np.clip(offset, -0.5, 0.5)) * SAMPLE_RATE / WINDOW
    strength = 2 * centre[rows, columns]  # a partial through this window covers about two bins
    total = float(power[1:, 1:-1].sum()) + 1e-20
    return np.log2(found / 261.6256), np.sqrt(strength), float(strength.sum()) / total


def _best(classes: np.ndarray) -> dict[str, dict[str, Any]]:
    found = []
    for mode, profile in (("major", MAJOR), ("minor", MINOR)):
        for tonic in range(12):
            correlation = float(np.corrcoef(np.roll(profile, tonic), classes)[0, 1])
            found.append((correlation, f"{NAMES[tonic]} {mode}"))
    (best, name), (second, _) = sorted(found, reverse=True)[:2]
    if best < CORRELATES or best - second < AHEAD:
        return {}
    return {"key": fact(name, "measurement", best)}
