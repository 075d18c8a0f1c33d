"""Music of known hits, for training and testing: grooves played with the samples of kits, in rooms, with noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr
from scipy.signal import butter, fftconvolve, sosfilt

from data_prep.heard.kit_pieces import PIECES
from data_prep.heard.kit_training.sources import KIT_PIECES, Hit
from data_prep.sound.recording import SAMPLE_RATE

SECONDS = 7.0
TOGETHER = round(0.03 * SAMPLE_RATE)
"""Hits that begin within this time are heard as one, as onset detection has them."""
SHARES = {
    "kick": 0.75, "snare": 0.75, "closed hat": 0.6, "open hat": 0.25, "tom": 0.35, "crash": 0.25, "ride": 0.25,
    "hand drum": 0.3, "metal": 0.15, "wood": 0.1, "shaken": 0.15, "clap": 0.12, "side stick": 0.08,
}  # fmt: skip
"""How often a groove has a sound."""
BUSY = {"closed hat": 0.45, "ride": 0.35, "shaken": 0.4, "hand drum": 0.35, "crash": 0.05, "open hat": 0.12}
USUALLY_BUSY = 0.22
LEVELS = {"kick": 1.0, "snare": 0.9, "closed hat": 0.45, "open hat": 0.45, "ride": 0.45, "shaken": 0.45}
USUAL_LEVEL = 0.7


@dataclass(frozen=True)
class Groove:
    """`samples` float32 (2, samples); where hits begin, and (hits, pieces) which pieces each of them has."""

    samples: np.ndarray
    starts: np.ndarray
    played: np.ndarray


def vary(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A hit that is still the same one: higher or lower, other in colour, in a room, driven, cut short, in noise."""
    sound = soxr.resample(
        samples.T[: 2 * SAMPLE_RATE], SAMPLE_RATE, SAMPLE_RATE * 2 ** rng.uniform(-0.35, 0.35)
    ).T
    if rng.random() < 0.4:
        share = rng.uniform(0.3, 0.9)
        sound = (1 - share) * sound + share * _filtered(sound, rng.uniform(3000, 12_000), "low")
    if rng.random() < 0.25:
        sound = _filtered(sound, rng.uniform(60, 200), "high")
    if rng.random() < 0.5:
        gain, middle = rng.uniform(-0.7, 1.5), np.exp(rng.uniform(5, 9))
        sound = sound + gain * _filtered(sound, middle * np.array([0.7, 1.4]), "band")
    if rng.random() < 0.3:
        sound = sound * np.exp(-np.arange(sound.shape[1]) / SAMPLE_RATE / rng.uniform(0.1, 1.0))
    if rng.random() < 0.4:
        sound = in_a_room(sound, rng)
    if rng.random() < 0.5:
        sound = sound[:, : round(rng.uniform(0.3, 1.5) * SAMPLE_RATE)]
        sound = sound * np.minimum(1, np.arange(sound.shape[1], 0, -1) / (0.01 * SAMPLE_RATE))
    if rng.random() < 0.3:
        sound = np.tanh(sound / np.abs(sound).max() * rng.uniform(1.5, 4))
    sound = sound / max(float(np.abs(sound).max()), 1e-9)
    return sound + rng.standard_normal(sound.shape) * 10 ** (rng.uniform(-85, -50) / 20)


def in_a_room(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With a diffuse tail of 0.1 to 0.7 s, 12 to 30 dB below the sound."""
    seconds, wet = rng.uniform(0.1, 0.7), rng.uniform(0.03, 0.25)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal((2, len(time))) * np.exp(-6.9 * time / seconds)
    tail /= np.sqrt(np.square(tail).sum(axis=1, keepdims=True))
    return np.pad(sound, ((0, 0), (0, len(time) - 1))) + wet * fftconvolve(sound, tail, axes=1)


def play(hits: list[Hit], seed: int) -> Groove:
    """A groove on some of the sounds of `hits`; the same seed gives the same one."""
    rng = np.random.default_rng(seed)
    step = 15 / rng.uniform(65, 180) * SAMPLE_RATE
    steps = int(SECONDS * SAMPLE_RATE / step)
    samples = np.zeros((2, round(SECONDS * SAMPLE_RATE)))
    events: list[tuple[int, str]] = []
    for sound, chosen in _kit(hits, rng).items():
        bar = rng.random(16) < BUSY.get(sound, USUALLY_BUSY) * rng.uniform(0.5, 1.6)
        gain = LEVELS.get(sound, USUAL_LEVEL) * rng.uniform(0.5, 1.2)
        for number in np.flatnonzero(np.resize(bar, steps) & (rng.random(steps) < 0.92)):
            start = max(0, round(number * step + rng.normal(0, 0.004) * SAMPLE_RATE))
            hit = chosen[int(rng.integers(len(chosen)))]
            part = hit[:, : samples.shape[1] - start]
            samples[:, start : start + part.shape[1]] += part * gain * rng.uniform(0.35, 1.0)
            events.append((start, sound))
    if rng.random() < 0.4:
        samples = in_a_room(samples, rng)[:, : samples.shape[1]]
    samples /= max(float(np.abs(samples).max()), 1e-9)
    samples += rng.standard_normal(samples.shape) * 10 ** (rng.uniform(-90, -55) / 20)
    return _groove(samples.astype(np.float32), sorted(events))


def _kit(hits: list[Hit], rng: np.random.Generator) -> dict[str, list[np.ndarray]]:
    """Sounds with one to three samples each, of one kit where it has them, peak 1."""
    kits = sorted({hit.kit for hit in hits})
    home = kits[int(rng.integers(len(kits)))]
    chosen = {}
    for sound, share in SHARES.items():
        if rng.random() >= share:
            continue
        of_sound = [hit for hit in hits if hit.sound == sound]
        at_home = [hit for hit in of_sound if hit.kit == home]
        pool = at_home if at_home and rng.random() < 0.7 else of_sound
        if pool:
            picks = rng.integers(len(pool), size=int(rng.integers(1, 4)))
            chosen[sound] = [pool[pick].samples / np.abs(pool[pick].samples).max() for pick in picks]
    return chosen


def _groove(samples: np.ndarray, events: list[tuple[int, str]]) -> Groove:
    starts: list[int] = []
    played: list[set[str | None]] = []
    for start, sound in events:
        if not starts or start - starts[-1] > TOGETHER:
            starts.append(start)
            played.append(set())
        played[-1].add(KIT_PIECES[sound])
    table = np.array([[piece in each for piece in PIECES] for each in played], bool).reshape(-1, len(PIECES))
    return Groove(samples, np.array(starts, int), table)


def _filtered(sound: np.ndarray, hertz: float | np.ndarray, kind: str) -> np.ndarray:
    return sosfilt(butter(1, hertz, kind, fs=SAMPLE_RATE, output="sos"), sound, axis=1)
