"""What is made of metal: hi-hats, cymbals, cowbell, tambourine."""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfilt

from finetune.base_model.starter.synthesis import (
    SAMPLE_RATE,
    Audio,
    Numbers,
    at_energy,
    burst,
    decay,
    frequency_modulation,
    membrane,
    mix,
    noise,
    partials,
    times,
)

SQUARE_RATIOS = (1.0, 1.342, 1.2312, 1.6532, 1.9523, 2.1523)  # of a drum machine's six oscillators


def _metal(
    k: Numbers, rng: np.random.Generator, time_constant: float, low_hz: float, seconds: float
) -> Audio:
    """Inharmonic partials, FM and noise above `low_hz`; a drum machine's hats lean on six square waves."""
    fixed = np.random.default_rng([int(k["seed"]), 5])
    hz = np.exp(fixed.uniform(np.log(low_hz * 0.8), np.log(15000), 56))
    levels = fixed.uniform(0.2, 1.0, 56) * rng.uniform(0.6, 1.0, 56) * np.minimum(1, 9000 / hz)
    rings = time_constant * fixed.uniform(0.5, 1.4, 56)
    sheet = partials(hz, rings, levels, rng.uniform(0, 6, 56), seconds)
    envelope = decay(seconds, time_constant)
    ringing = frequency_modulation(k["metal_hz"] * 9.2, k["metal_hz"] * 6.13, 3.0, seconds) * envelope
    hiss = noise(rng, seconds, low_hz, 11500, 2) * (
        0.7 * decay(seconds, time_constant * 0.6) + 0.3 * envelope
    )
    parts = [at_energy(sheet, 0), at_energy(ringing, k["hat_fm_db"]), at_energy(hiss, k["hat_noise_db"])]
    if k["squares"] > 0:
        t = times(seconds)
        waves = [np.sign(np.sin(np.float32(2 * np.pi * k["metal_hz"] * r) * t + r)) for r in SQUARE_RATIOS]
        parts.append(at_energy(sum(waves[1:], waves[0]) * envelope, 8 * k["squares"]))
    return sosfilt(_above(low_hz), mix(parts)).astype(np.float32)


def _above(low_hz: float) -> np.ndarray:
    return butter(3, low_hz, "highpass", fs=SAMPLE_RATE, output="sos")


def closed_hat(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    ring = k["closed_decay"] * (0.7 + 0.5 * velocity)
    body = membrane(rng, 330, 0.012, 0.0, 0.01, 0.6, 0.0)
    metal = _metal(k, rng, ring, k["hat_low_hz"], min(0.5, ring * 7))
    return mix([at_energy(metal, 0), at_energy(body, k["hat_body_db"])])


def open_hat(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    ring = k["open_decay"] * (0.8 + 0.3 * velocity)
    attack = _metal(k, rng, k["closed_decay"], k["hat_low_hz"], min(0.4, k["closed_decay"] * 7))
    wash = _metal(k, rng, ring, k["hat_low_hz"] * 0.85, min(2.2, ring * 6))
    return mix([at_energy(wash, 0), at_energy(attack, -9)])


def _cymbal(
    k: Numbers,
    rng: np.random.Generator,
    low_hz: float,
    time_constant: float,
    bloom_seconds: float,
    noise_db: float,
) -> Audio:
    """Many partials, the high ones dying first, and noise that swells for a moment and fades from the top down."""
    fixed = np.random.default_rng([int(k["seed"]), 7])
    seconds = min(3.4, time_constant * 6)
    hz = np.exp(fixed.uniform(np.log(low_hz), np.log(14000), 110))
    rings = time_constant * (hz / 3000) ** -0.4 * fixed.uniform(0.5, 1.3, 110)
    spread = rng.uniform(0.6, 1.0, 110)
    levels = (
        spread * np.minimum(hz / 3000, 1.0) ** 0.9 * np.minimum(1, 7000 / hz) * fixed.uniform(0.1, 1.0, 110)
    )
    bronze = partials(hz, rings, levels, rng.uniform(0, 6, 110), seconds)
    swell = 1 - np.exp(-times(seconds) / np.float32(bloom_seconds))
    low = noise(rng, seconds, 1800, 5500, 1) * decay(seconds, time_constant * 0.7)
    high = noise(rng, seconds, 5500, 11000, 2) * decay(seconds, time_constant * 0.35)
    hiss = swell * (low + 1.1 * high)
    return mix([at_energy(bronze, 0), at_energy(hiss, noise_db)])


def crash(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    wash = _cymbal(k, rng, k["crash_low_hz"], k["crash_decay"], 0.004, k["crash_noise_db"] + 3 * velocity)
    return mix([at_energy(wash, 0), at_energy(burst(rng, 3000, 14000, 0.006), -12 - 6 * (1 - velocity))])


def ride(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    fixed = np.random.default_rng([int(k["seed"]), 9])
    hz = k["ride_hz"] * np.array([1.0, 1.31, 1.63, 1.9, 2.31, 2.7]) * fixed.uniform(0.95, 1.05, 6)
    rings = k["ride_decay"] * fixed.uniform(0.25, 0.8, 6)
    ping = partials(
        hz, rings, fixed.uniform(0.3, 1.0, 6), rng.uniform(0, 6, 6), min(3.0, k["ride_decay"] * 4)
    )
    wash = _cymbal(k, rng, 700, k["ride_decay"], 0.02, -4)
    stick = at_energy(burst(rng, 3500, 12000, 0.003), k["ride_ping_db"] - 9 - 5 * (1 - velocity))
    return mix([at_energy(ping, k["ride_ping_db"]), at_energy(wash, 0), stick])


def cowbell(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    order = np.array([1.0, 1.5, 2.55, 3.4, 4.3, 5.6, 7.1])
    fixed = np.random.default_rng([int(k["seed"]), 11])
    hz = k["bell_hz"] * order * np.r_[1, 1, fixed.uniform(0.93, 1.07, 5)]
    levels = np.array([1, 0.9, 1, 0.8, 0.5, 0.3, 0.2]) * order ** (
        k["bell_bright"] * (0.6 + 0.4 * velocity) - 0.6
    )
    rings = k["bell_decay"] / order**0.2
    bell = partials(hz, rings, levels * rng.uniform(0.8, 1, 7), rng.uniform(0, 6, 7), k["bell_decay"] * 6)
    return mix([at_energy(bell, 0), at_energy(burst(rng, 1500, 7000, 0.002), -15)])


def tambourine(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    """Pairs of small jingles, each hit several times while the frame is shaken."""
    fixed = np.random.default_rng([int(k["seed"]), 13])
    seconds = 0.1 + k["jingle_decay"] * 5
    hz = k["jingle_hz"] * np.exp(fixed.uniform(-0.3, 0.6, 24))
    jingles = partials(
        hz, k["jingle_decay"] * fixed.uniform(0.4, 1.2, 24), np.ones(24), rng.uniform(0, 6, 24), seconds
    )
    grain = noise(rng, seconds, 4000, 14000, 1) * decay(seconds, k["jingle_decay"] * 0.6)
    out = mix([at_energy(jingles, 0), at_energy(grain, -2)])
    again = int(rng.uniform(0.015, 0.035) * SAMPLE_RATE)
    return mix([out, np.r_[np.zeros(again, np.float32), np.float32(0.4 * velocity) * out[:-again]]])
