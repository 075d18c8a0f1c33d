"""How each piece of a kit sounds: one function a voice, from the kit's numbers to one hit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.signal import butter, sosfilt

from finetune.base_model.starter.synthesis import (
    SAMPLE_RATE,
    Audio,
    at_energy,
    decay,
    frequency_modulation,
    membrane,
    mix,
    noise,
    partials,
    times,
)

Numbers = dict[str, float]
Voice = Callable[[Numbers, np.random.Generator, float], Audio]
"""The kit's numbers, what varies from hit to hit, and the velocity of the layer (0 to 1)."""

SQUARE_RATIOS = (1.0, 1.342, 1.2312, 1.6532, 1.9523, 2.1523)


def _burst(rng: np.random.Generator, low_hz: float, high_hz: float, time_constant: float) -> Audio:
    seconds = time_constant * 7
    return noise(rng, seconds, low_hz, high_hz, 1) * decay(seconds, time_constant)


def kick(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    body = membrane(
        rng, k["kick_hz"], k["kick_decay"], k["kick_drop"] * (0.6 + 0.4 * velocity), k["kick_drop_seconds"],
        k["kick_damping"], k["kick_beating"], k["kick_shape"],
    )  # fmt: skip
    beater = _burst(rng, 900, 4000, 0.003)
    thump = _burst(rng, 90, 350, 0.02)
    click_db = k["kick_click_db"] - 10 * (1 - velocity)
    parts = [at_energy(body, 0), at_energy(beater, click_db), at_energy(thump, k["kick_thump_db"])]
    return mix([*parts, at_energy(_wires(k, rng, velocity), k["buzz_db"] - 8)])


def _wires(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    """The snares below the lower head: they start a moment after the strike and rattle on."""
    seconds, late = k["snare_decay"] * 6, k["snare_decay"] * 1.2
    high_hz = k["wires_high_hz"] * (0.65 + 0.35 * velocity)
    envelope = 0.7 * decay(seconds, k["snare_decay"] * 0.45) + 0.3 * decay(seconds, late)
    return (
        noise(rng, seconds, k["wires_low_hz"], high_hz, 2) * envelope * np.minimum(times(seconds) / 0.002, 1)
    )


def snare(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    shell = membrane(
        rng, k["snare_hz"], k["shell_decay"], k["snare_drop"], 0.01, k["snare_ring"], k["kick_beating"]
    )
    wires_db = k["wires_db"] + 3 * (velocity - 0.8)
    crack_db = k["crack_db"] - 8 * (1 - velocity)
    parts = [at_energy(shell, 0), at_energy(_wires(k, rng, velocity), wires_db)]
    return mix([*parts, at_energy(_burst(rng, 1000, 4500, 0.002), crack_db)])


def rimshot(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    """Stick on rim and head at once: the shell rings above the snares."""
    hz = k["snare_hz"] * np.array([1.0, 1.7, 2.9, 4.3, 5.6, 7.2]) * rng.uniform(0.998, 1.002, 6)
    rings = k["shell_decay"] * np.array([0.7, 0.8, 0.6, 0.5, 0.4, 0.3])
    levels = np.array([0.6, 1.0, 0.8, 0.6, 0.5, 0.4]) * rng.uniform(0.8, 1.0, 6)
    shell = partials(hz, rings, levels, rng.uniform(0, 1, 6), k["shell_decay"] * 5)
    wires = at_energy(_wires(k, rng, velocity), k["rim_db"] + 2 * (velocity - 1))
    return mix([at_energy(shell, 0), wires, at_energy(_burst(rng, 1500, 7000, 0.0015), -5)])


def side_stick(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    hz = k["stick_hz"] * np.array([1.0, 1.52, 2.23, 2.91, 3.77]) * rng.uniform(0.995, 1.005, 5)
    levels = np.array([0.7, 1.0, 0.9, 0.5, 0.4]) * rng.uniform(0.8, 1.0, 5)
    rings = k["stick_decay"] * np.array([1.5, 1.0, 0.9, 0.7, 0.6])
    wood = partials(hz, rings, levels, rng.uniform(0, 3, 5), k["stick_decay"] * 9)
    return mix([at_energy(wood, 0), at_energy(_burst(rng, 1500, 6000, 0.0015), -12 - 5 * (1 - velocity))])


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
    return mix([at_energy(wash, 0), at_energy(_burst(rng, 3000, 14000, 0.006), -12 - 6 * (1 - velocity))])


def ride(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    fixed = np.random.default_rng([int(k["seed"]), 9])
    hz = k["ride_hz"] * np.array([1.0, 1.31, 1.63, 1.9, 2.31, 2.7]) * fixed.uniform(0.95, 1.05, 6)
    rings = k["ride_decay"] * fixed.uniform(0.25, 0.8, 6)
    ping = partials(
        hz, rings, fixed.uniform(0.3, 1.0, 6), rng.uniform(0, 6, 6), min(3.0, k["ride_decay"] * 4)
    )
    wash = _cymbal(k, rng, 700, k["ride_decay"], 0.02, -4)
    stick = at_energy(_burst(rng, 3500, 12000, 0.003), k["ride_ping_db"] - 9 - 5 * (1 - velocity))
    return mix([at_energy(ping, k["ride_ping_db"]), at_energy(wash, 0), stick])


def tom(name: str) -> Voice:
    def voice(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
        ratio = {"floor tom": 1.0, "mid tom": k["tom_mid"], "high tom": k["tom_high"]}[name]
        body = membrane(
            rng, k["tom_hz"] * ratio, k["tom_decay"] / ratio**0.3, k["tom_drop"] * velocity, 0.05,
            k["tom_damping"], k["tom_beating"],
        )  # fmt: skip
        stick = at_energy(_burst(rng, 1300, 4500, 0.003), k["tom_stick_db"] - 8 * (1 - velocity))
        return mix([at_energy(body, 0), stick, at_energy(_wires(k, rng, velocity), k["buzz_db"])])

    return voice


def hand_drum(ratio_name: str, damping: float) -> Voice:
    def voice(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
        hz = k["hand_hz"] * k.get(ratio_name, 1.0)
        slapped = rng.random() < 0.3
        ring = k["hand_decay"] * (0.4 if slapped else 1.0) / k.get(ratio_name, 1.0) ** 0.5
        body = membrane(rng, hz, ring, 0.06, 0.02, damping * (0.5 if slapped else 1.0), 0.0)
        slap_db = k["slap_db"] + (8 if slapped else 0) - 8 * (1 - velocity)
        return mix([at_energy(body, 0), at_energy(_burst(rng, 900, 4500, 0.006), slap_db)])

    return voice


def tabla(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    """Right hand: a loaded head whose modes are nearly harmonic; left hand: a deep drum whose pitch is pressed up."""
    if rng.random() < 0.4:
        bend = rng.uniform(-0.25, 0.1)
        body = membrane(rng, k["bayan_hz"], k["tabla_decay"] * 1.6, bend, 0.15, 1.8, 0.0)
        return mix([at_energy(body, 0), at_energy(_burst(rng, 300, 2500, 0.004), -14)])
    rim = rng.uniform(0, 1)
    order = np.arange(1, 6)
    levels = np.array([1 - 0.8 * rim, 0.5 + 0.3 * rim, 0.2 + 0.8 * rim, 0.15, 0.1])
    rings = k["tabla_decay"] * (1 - 0.6 * rim) / order**0.4
    hz = k["tabla_hz"] * order * rng.uniform(0.995, 1.005, 5)
    head = partials(hz, rings, levels, rng.uniform(0, 1, 5), k["tabla_decay"] * 5)
    return mix([at_energy(head, 0), at_energy(_burst(rng, 1500, 6000, 0.003), -14 - 6 * (1 - velocity))])


def cowbell(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    order = np.array([1.0, 1.5, 2.55, 3.4, 4.3, 5.6, 7.1])
    fixed = np.random.default_rng([int(k["seed"]), 11])
    hz = k["bell_hz"] * order * np.r_[1, 1, fixed.uniform(0.93, 1.07, 5)]
    levels = np.array([1, 0.9, 1, 0.8, 0.5, 0.3, 0.2]) * order ** (
        k["bell_bright"] * (0.6 + 0.4 * velocity) - 0.6
    )
    rings = k["bell_decay"] / order**0.2
    bell = partials(hz, rings, levels * rng.uniform(0.8, 1, 7), rng.uniform(0, 6, 7), k["bell_decay"] * 6)
    return mix([at_energy(bell, 0), at_energy(_burst(rng, 1500, 7000, 0.002), -15)])


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


def woodblock(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    hz = k["wood_hz"] * np.array([1.0, 1.58, 2.41, 3.3]) * rng.uniform(0.997, 1.003, 4)
    rings = k["wood_decay"] * np.array([1.4, 0.9, 0.6, 0.5])
    block = partials(hz, rings, np.array([1.0, 0.6, 0.35, 0.25]), rng.uniform(0, 1, 4), k["wood_decay"] * 9)
    return mix([at_energy(block, 0), at_energy(_burst(rng, 1500, 6000, 0.001), -16 - 6 * (1 - velocity))])


VOICES: dict[str, Voice] = {
    "kick": kick, "snare": snare, "rimshot": rimshot, "side stick": side_stick,
    "closed hi-hat": closed_hat, "open hi-hat": open_hat,
    "high tom": tom("high tom"), "mid tom": tom("mid tom"), "floor tom": tom("floor tom"),
    "crash cymbal": crash, "ride cymbal": ride,
    "conga": hand_drum("", 1.1), "bongo": hand_drum("bongo_ratio", 0.8), "tabla": tabla,
    "cowbell": cowbell, "clap": clap, "shaker": shaker, "tambourine": tambourine, "woodblock": woodblock,
}  # fmt: skip
SOFT_HZ = {
    "kick": 150, "snare": 2500, "rimshot": 2500, "side stick": 1200, "closed hi-hat": 7000, "open hi-hat": 6000,
    "high tom": 350, "mid tom": 300, "floor tom": 250, "crash cymbal": 4000, "ride cymbal": 4000, "conga": 500,
    "bongo": 900, "tabla": 700, "cowbell": 1800, "clap": 2000, "shaker": 7000, "tambourine": 6000, "woodblock": 1500,
}  # fmt: skip
"""Above this a soft hit has less of everything than a hard one."""
