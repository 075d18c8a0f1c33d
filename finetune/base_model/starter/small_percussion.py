"""Hands, seeds and wood: clap, shaker, woodblock."""

from __future__ import annotations

import numpy as np

from finetune.base_model.starter.synthesis import (
    Audio,
    Numbers,
    at_energy,
    burst,
    mix,
    noise,
    partials,
    times,
)


def clap(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    seconds = 0.06 + k["clap_decay"] * 5
    t = times(seconds)
    starts = np.cumsum(np.r_[0.0, rng.uniform(0.006, 0.014, int(rng.integers(2, 4)))])
    envelope = 0.8 * np.exp(-np.maximum(t - starts[-1], 0) / np.float32(k["clap_decay"])) * (t >= starts[-1])
    for start in starts:
        envelope = envelope + np.exp(-np.maximum(t - start, 0) / np.float32(0.004)) * (t >= start)
    return noise(rng, seconds, k["clap_hz"] * 0.8, k["clap_hz"] * 2.4, 2) * envelope.astype(np.float32)


def shaker(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    seconds, rise = 0.03 + k["shaker_decay"] * 6, 0.006 + 0.02 * (1 - velocity)
    t = times(seconds)
    envelope = np.minimum(t / rise, 1) ** 2 * np.exp(-np.maximum(t - rise, 0) / np.float32(k["shaker_decay"]))
    return noise(rng, seconds, k["shaker_hz"], 13000, 2) * envelope.astype(np.float32)


def woodblock(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    hz = k["wood_hz"] * np.array([1.0, 1.58, 2.41, 3.3]) * rng.uniform(0.997, 1.003, 4)
    rings = k["wood_decay"] * np.array([1.4, 0.9, 0.6, 0.5])
    block = partials(hz, rings, np.array([1.0, 0.6, 0.35, 0.25]), rng.uniform(0, 1, 4), k["wood_decay"] * 9)
    return mix([at_energy(block, 0), at_energy(burst(rng, 1500, 6000, 0.001), -16 - 6 * (1 - velocity))])
