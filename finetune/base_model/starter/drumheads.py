"""Drums: kick, snare and what else is played on it, toms, congas, bongos, tabla."""

from __future__ import annotations

import numpy as np

from finetune.base_model.starter.synthesis import (
    Audio,
    Numbers,
    Voice,
    at_energy,
    burst,
    decay,
    membrane,
    mix,
    noise,
    partials,
    times,
)


def kick(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    body = membrane(
        rng, k["kick_hz"], k["kick_decay"], k["kick_drop"] * (0.6 + 0.4 * velocity), k["kick_drop_seconds"],
        k["kick_damping"], k["kick_beating"], k["kick_shape"],
    )  # fmt: skip
    beater = burst(rng, 900, 4000, 0.003)
    thump = burst(rng, 90, 350, 0.02)
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
    return mix([*parts, at_energy(burst(rng, 1000, 4500, 0.002), crack_db)])


def rimshot(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    """Stick on rim and head at once: the shell rings above the snares."""
    hz = k["snare_hz"] * np.array([1.0, 1.7, 2.9, 4.3, 5.6, 7.2]) * rng.uniform(0.998, 1.002, 6)
    rings = k["shell_decay"] * np.array([0.7, 0.8, 0.6, 0.5, 0.4, 0.3])
    levels = np.array([0.6, 1.0, 0.8, 0.6, 0.5, 0.4]) * rng.uniform(0.8, 1.0, 6)
    shell = partials(hz, rings, levels, rng.uniform(0, 1, 6), k["shell_decay"] * 5)
    wires = at_energy(_wires(k, rng, velocity), k["rim_db"] + 2 * (velocity - 1))
    return mix([at_energy(shell, 0), wires, at_energy(burst(rng, 1500, 7000, 0.0015), -5)])


def side_stick(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    hz = k["stick_hz"] * np.array([1.0, 1.52, 2.23, 2.91, 3.77]) * rng.uniform(0.995, 1.005, 5)
    levels = np.array([0.7, 1.0, 0.9, 0.5, 0.4]) * rng.uniform(0.8, 1.0, 5)
    rings = k["stick_decay"] * np.array([1.5, 1.0, 0.9, 0.7, 0.6])
    wood = partials(hz, rings, levels, rng.uniform(0, 3, 5), k["stick_decay"] * 9)
    return mix([at_energy(wood, 0), at_energy(burst(rng, 1500, 6000, 0.0015), -12 - 5 * (1 - velocity))])


def tom(name: str) -> Voice:
    def voice(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
        ratio = {"floor tom": 1.0, "mid tom": k["tom_mid"], "high tom": k["tom_high"]}[name]
        body = membrane(
            rng, k["tom_hz"] * ratio, k["tom_decay"] / ratio**0.3, k["tom_drop"] * velocity, 0.05,
            k["tom_damping"], k["tom_beating"],
        )  # fmt: skip
        stick = at_energy(burst(rng, 1300, 4500, 0.003), k["tom_stick_db"] - 8 * (1 - velocity))
        return mix([at_energy(body, 0), stick, at_energy(_wires(k, rng, velocity), k["buzz_db"])])

    return voice


def hand_drum(ratio_name: str, damping: float) -> Voice:
    def voice(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
        hz = k["hand_hz"] * k.get(ratio_name, 1.0)
        slapped = rng.random() < 0.3
        ring = k["hand_decay"] * (0.4 if slapped else 1.0) / k.get(ratio_name, 1.0) ** 0.5
        body = membrane(rng, hz, ring, 0.06, 0.02, damping * (0.5 if slapped else 1.0), 0.0)
        slap_db = k["slap_db"] + (8 if slapped else 0) - 8 * (1 - velocity)
        return mix([at_energy(body, 0), at_energy(burst(rng, 900, 4500, 0.006), slap_db)])

    return voice


def tabla(k: Numbers, rng: np.random.Generator, velocity: float) -> Audio:
    """Right hand: a loaded head whose modes are nearly harmonic; left hand: a deep drum whose pitch is pressed up."""
    if rng.random() < 0.4:
        bend = rng.uniform(-0.25, 0.1)
        body = membrane(rng, k["bayan_hz"], k["tabla_decay"] * 1.6, bend, 0.15, 1.8, 0.0)
        return mix([at_energy(body, 0), at_energy(burst(rng, 300, 2500, 0.004), -14)])
    rim = rng.uniform(0, 1)
    order = np.arange(1, 6)
    levels = np.array([1 - 0.8 * rim, 0.5 + 0.3 * rim, 0.2 + 0.8 * rim, 0.15, 0.1])
    rings = k["tabla_decay"] * (1 - 0.6 * rim) / order**0.4
    hz = k["tabla_hz"] * order * rng.uniform(0.995, 1.005, 5)
    head = partials(hz, rings, levels, rng.uniform(0, 1, 5), k["tabla_decay"] * 5)
    return mix([at_energy(head, 0), at_energy(burst(rng, 1500, 6000, 0.003), -14 - 6 * (1 - velocity))])
