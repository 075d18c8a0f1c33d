"""What struck things are synthesised from: decaying partials, drumheads with a falling pitch, FM, shaped noise.

Drumheads are the inharmonic modes of a circular membrane (Fletcher & Rossing, *The Physics of Musical Instruments*,
ch. 18), their lowest mode split in two as two heads coupled by the air split it; metal is many partials or
frequency modulation (Chowning 1973).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len

SAMPLE_RATE = 44100
MEMBRANE_MODES = np.array([1.0, 1.594, 2.136, 2.296, 2.653, 2.918, 3.156, 3.5])
BLOCK = 256

Audio = NDArray[np.float32]
Numbers = dict[str, float]
Voice = Callable[[Numbers, np.random.Generator, float], Audio]
"""The kit's numbers, what varies from hit to hit, and the velocity of the layer (0 to 1)."""


def times(seconds: float) -> Audio:
    return np.arange(int(seconds * SAMPLE_RATE), dtype=np.float32) / np.float32(SAMPLE_RATE)


def decay(seconds: float, time_constant: float, shape: float = 1.0) -> Audio:
    """exp(-(t / time_constant) ** shape): above 1 the sound stays and then stops, as a gate makes it."""
    t = times(seconds) / np.float32(time_constant)
    return np.exp(-t if shape == 1.0 else -(t**shape))


def partials(
    hz: np.ndarray, time_constants: np.ndarray, levels: np.ndarray, phases: np.ndarray, seconds: float
) -> Audio:
    """Sum of exponentially decaying sines, each (partials,): one matrix product, as e^(a+b) is e^a times e^b."""
    count = int(seconds * SAMPLE_RATE)
    pole = -1 / (time_constants * SAMPLE_RATE) + 2j * np.pi * hz / SAMPLE_RATE
    rows = np.arange(-(-count // BLOCK)) * BLOCK
    start = levels * np.exp(1j * phases) * np.exp(np.outer(rows, pole))
    inside = np.exp(np.outer(pole, np.arange(BLOCK)))
    real, imaginary = (np.ascontiguousarray(part, np.float32) for part in (start.real, start.imag))
    sines, cosines = (np.ascontiguousarray(part, np.float32) for part in (inside.imag, inside.real))
    return (real @ sines + imaginary @ cosines).ravel()[:count]


def membrane(
    rng: np.random.Generator,
    pitch_hz: float,
    time_constant: float,
    drop: float,
    drop_seconds: float,
    damping: float,
    beating: float,
    shape: float = 1.0,
) -> Audio:
    """A struck drumhead.

    `drop` is how far above `pitch_hz` the strike starts (1 is an octave), `damping` dulls the upper modes,
    `beating` is the distance of the second head's lowest mode as a share of the pitch, 0 for a single head.
    """
    seconds = min(2.2, time_constant * (7.0 if shape < 1.2 else 4.0))
    t = times(seconds).astype(np.float64)
    cycles = pitch_hz * (t + drop * drop_seconds * (1 - np.exp(-t / drop_seconds)))
    sound = np.zeros(len(t), np.float32)
    modes = [(ratio, np.exp(-damping * n), 1 + 0.8 * n) for n, ratio in enumerate(MEMBRANE_MODES)]
    if beating > 0:
        modes.append((1 + beating, 0.5, 1.2))
    for ratio, level, haste in modes:
        if level < 1e-3:
            continue
        heard = min(len(t), int(7 * time_constant / haste * SAMPLE_RATE))
        turns = cycles[:heard] * (ratio * rng.uniform(0.997, 1.003)) + (ratio > 1) * rng.uniform(0, 0.5)
        wave = np.sin((2 * np.pi * (turns - np.floor(turns))).astype(np.float32))
        sound[:heard] += (
            np.float32(level * rng.uniform(0.75, 1.0))
            * wave
            * decay(seconds, time_constant / haste, shape)[:heard]
        )
    return sound


def frequency_modulation(carrier_hz: float, modulator_hz: float, index: float, seconds: float) -> Audio:
    """sin(carrier + index * sin(modulator)); an irrational ratio of the two sounds like metal."""
    t = times(seconds)
    turn = np.float32(2 * np.pi)
    return np.sin(turn * carrier_hz * t + np.float32(index) * np.sin(turn * modulator_hz * t))


def noise(rng: np.random.Generator, seconds: float, low_hz: float, high_hz: float, order: int = 2) -> Audio:
    """White noise between `low_hz` and `high_hz`, with flanks of 6 dB per octave times `order`."""
    count = int(seconds * SAMPLE_RATE)
    size = next_fast_len(count, real=True)
    hz = np.arange(size // 2 + 1, dtype=np.float32) * np.float32(SAMPLE_RATE / size) + np.float32(1e-3)
    curve = 1 / np.sqrt((1 + (low_hz / hz) ** (2 * order)) * (1 + (hz / high_hz) ** (2 * order)))
    white = rng.standard_normal((2, len(hz)), dtype=np.float32)
    return irfft((white[0] + 1j * white[1]) * curve.astype(np.float32), size)[:count]


def at_energy(sound: Audio, level_db: float) -> Audio:
    """The sound scaled to an energy (sum of squares) of `level_db`, so that parts mix in known shares."""
    return sound * np.float32(10 ** (level_db / 20) / np.sqrt(float(np.dot(sound, sound)) + 1e-12))


def mix(parts: Sequence[Audio]) -> Audio:
    out = np.zeros(max(map(len, parts)), np.float32)
    for part in parts:
        out[: len(part)] += part
    return out


def burst(rng: np.random.Generator, low_hz: float, high_hz: float, time_constant: float) -> Audio:
    """A short noise: a stick, a beater, a hand."""
    seconds = time_constant * 7
    return noise(rng, seconds, low_hz, high_hz, 1) * decay(seconds, time_constant)
