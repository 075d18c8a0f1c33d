"""A procedural drum kit: every voice is synthesised from a handful of physical numbers drawn from one seed.

Membranes are sums of the inharmonic modes of a circular drumhead with a falling pitch (Fletcher & Rossing,
*The Physics of Musical Instruments*, ch. 18), metal is a cluster of detuned square partials behind a
high-pass (the method of the analogue drum machines), wires and breath are band-passed noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

SAMPLE_RATE = 44100
LAYERS = 6  # velocity layers: how hard a hit is changes its timbre in this many steps
MEMBRANE_MODES = np.array([1.0, 1.594, 2.136, 2.296, 2.653, 2.918])
METAL_RATIOS = np.array([1.0, 1.342, 1.2312, 1.6532, 1.9523, 2.1523])

Audio = NDArray[np.float64]


def _times(seconds: float) -> Audio:
    return np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _noise(rng: np.random.Generator, seconds: float, low_hz: float, high_hz: float | None = None) -> Audio:
    """White noise above `low_hz`, and below `high_hz` if given."""
    white = rng.standard_normal(int(seconds * SAMPLE_RATE))
    if high_hz is None:
        return sosfilt(butter(2, low_hz, "highpass", fs=SAMPLE_RATE, output="sos"), white)
    return sosfilt(butter(2, [low_hz, high_hz], "bandpass", fs=SAMPLE_RATE, output="sos"), white)


def membrane(
    rng: np.random.Generator, pitch_hz: float, decay: float, drop: float, drop_seconds: float, damping: float
) -> Audio:
    """A struck drumhead: `drop` is how far above `pitch_hz` the strike starts, `damping` dulls the upper modes."""
    t = _times(decay * 6)
    cycles = np.cumsum(pitch_hz * (1 + drop * np.exp(-t / drop_seconds))) / SAMPLE_RATE
    sound = np.zeros_like(t)
    for order, ratio in enumerate(MEMBRANE_MODES):
        level = np.exp(-damping * order) * rng.uniform(0.7, 1.0)
        sound += level * np.sin(2 * np.pi * cycles * ratio) * np.exp(-t / (decay / (1 + 0.7 * order)))
    return sound


def metal(rng: np.random.Generator, pitch_hz: float, decay: float, low_hz: float, grit: float) -> Audio:
    """A cymbal or hat: clustered square partials and noise (share `grit`) above `low_hz`."""
    t = _times(decay * 5)
    partials = sum(np.sign(np.sin(2 * np.pi * (pitch_hz * r * t + rng.uniform()))) for r in METAL_RATIOS)
    mixed = (1 - grit) * partials / 3 + grit * rng.standard_normal(len(t)) * 1.5
    bright = sosfilt(butter(3, low_hz, "highpass", fs=SAMPLE_RATE, output="sos"), mixed)
    return bright * np.exp(-t / decay)


def _stick(rng: np.random.Generator, level: float, low_hz: float = 1500.0) -> Audio:
    click = _noise(rng, 0.012, low_hz)
    return level * click * np.exp(-_times(0.012) / 0.002)


def _mix(*parts: Audio) -> Audio:
    out = np.zeros(max(map(len, parts)))
    for part in parts:
        out[: len(part)] += part
    return out


def _finish(sound: Audio, drive: float) -> Audio:
    """Saturate, normalise to peak 1, fade the last 10 ms."""
    peak = np.abs(sound).max()
    sound = np.tanh(sound / (peak + 1e-9) * (0.2 + drive)) if drive > 0 else sound
    sound = sound / (np.abs(sound).max() + 1e-9)
    fade = min(len(sound), 441)
    sound[-fade:] *= np.linspace(1, 0, fade)
    return sound


@dataclass(frozen=True)
class Kit:
    """One drummer's kit: all numbers follow from `seed`, so the same seed always sounds the same.

    `strange` moves every number outside the ranges that the starter base was trained on; the demo's
    personal library uses it.
    """

    seed: int
    strange: bool = False
    numbers: dict[str, float] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng([self.seed, 17])
        ranges = STRANGE_RANGES if self.strange else RANGES
        drawn = {name: float(rng.uniform(low, high)) for name, (low, high) in ranges.items()}
        object.__setattr__(self, "numbers", drawn)

    def strike(self, piece: str, velocity: float, take: int) -> Audio:
        """One hit as mono audio with peak `velocity` (0..1); `take` varies it as a hand would."""
        layer = np.ceil(velocity * LAYERS) / LAYERS
        return _layer(self, piece, layer, take) * velocity

    def pan(self, piece: str) -> float:
        """Place in the stereo picture, -1 (left) to 1 (right)."""
        rng = np.random.default_rng([self.seed, 31, PIECES.index(piece)])
        width = {"kick": 0.0, "snare": 0.1}.get(piece, 0.6)
        return float(rng.uniform(-width, width))


Voice = Callable[[dict[str, float], np.random.Generator, float], Audio]


def _kick(k: dict[str, float], rng: np.random.Generator, velocity: float) -> Audio:
    body = membrane(rng, k["kick_hz"], k["kick_decay"], k["kick_drop"], 0.02, 2.5)
    return _mix(body, _stick(rng, k["kick_click"] * velocity, 900))


def _snare(k: dict[str, float], rng: np.random.Generator, velocity: float) -> Audio:
    shell = membrane(rng, k["snare_hz"], k["snare_decay"] * 0.6, 0.4, 0.012, 1.0)
    seconds = k["snare_decay"] * 5
    wires = _noise(rng, seconds, 900 + 900 * velocity, 9500) * np.exp(-_times(seconds) / k["snare_decay"])
    return _mix(0.8 * shell, k["snare_wires"] * wires, _stick(rng, 0.5 * velocity))


def _hat(decay_name: str) -> Voice:
    def voice(k: dict[str, float], rng: np.random.Generator, velocity: float) -> Audio:
        decay = k[decay_name] * (0.7 + 0.5 * velocity)
        return _mix(metal(rng, k["metal_hz"], decay, k["hat_low_hz"], k["grit"]), _stick(rng, 0.2, 5000))

    return voice


def _tom(ratio: float) -> Voice:
    def voice(k: dict[str, float], rng: np.random.Generator, velocity: float) -> Audio:
        body = membrane(rng, k["tom_hz"] * ratio, k["tom_decay"], 0.35, 0.04, 1.3)
        return _mix(body, _stick(rng, 0.35 * velocity))

    return voice


def _cymbal(decay_name: str, ping: float) -> Voice:
    def voice(k: dict[str, float], rng: np.random.Generator, velocity: float) -> Audio:
        wash = metal(rng, k["metal_hz"] * 0.73, k[decay_name], 2500 + 1500 * ping, min(1, k["grit"] + 0.2))
        t = _times(k[decay_name] * 2)
        bell = np.sin(2 * np.pi * k["metal_hz"] * 7.3 * t) * np.exp(-t / (k[decay_name] * 0.5))
        return _mix(wash, ping * bell, _stick(rng, 0.6 * ping * velocity))

    return voice


def _hand(ratio: float, slap: float) -> Voice:
    def voice(k: dict[str, float], rng: np.random.Generator, velocity: float) -> Audio:
        body = membrane(rng, k["hand_hz"] * ratio, k["hand_decay"] * (1 - 0.6 * slap), 0.1, 0.02, 0.7 + slap)
        burst = _noise(rng, 0.08, 700, 5000) * np.exp(-_times(0.08) / (0.008 + 0.01 * slap))
        return _mix(body, (0.2 + slap) * velocity * burst)

    return voice


def _cowbell(k: dict[str, float], rng: np.random.Generator, velocity: float) -> Audio:
    t = _times(k["bell_decay"] * 5)
    pair = np.sign(np.sin(2 * np.pi * k["bell_hz"] * t)) + np.sign(
        np.sin(2 * np.pi * k["bell_hz"] * 1.48 * t)
    )
    band = butter(2, [k["bell_hz"] * 0.8, 6000], "bandpass", fs=SAMPLE_RATE, output="sos")
    return sosfilt(band, pair) * np.exp(-t / k["bell_decay"])


def _clap(k: dict[str, float], rng: np.random.Generator, velocity: float) -> Audio:
    t = _times(0.35)
    envelope = np.exp(-np.maximum(t - 0.03, 0) / k["clap_decay"]) * (t > 0.03)
    for start in (0.0, 0.010, 0.020):
        envelope = envelope + np.exp(-np.maximum(t - start, 0) / 0.004) * (t >= start)
    return _noise(rng, 0.35, 800, 5500) * envelope


def _shaker(k: dict[str, float], rng: np.random.Generator, velocity: float) -> Audio:
    t = _times(0.18)
    return (
        _noise(rng, 0.18, 4500)
        * np.minimum(t / 0.012, 1)
        * np.exp(-np.maximum(t - 0.012, 0) / k["shaker_decay"])
    )


VOICES: dict[str, Voice] = {
    "kick": _kick,
    "snare": _snare,
    "closed hi-hat": _hat("closed_decay"),
    "open hi-hat": _hat("open_decay"),
    "high tom": _tom(1.5),
    "mid tom": _tom(1.2),
    "floor tom": _tom(0.8),
    "crash cymbal": _cymbal("crash_decay", 0.0),
    "ride cymbal": _cymbal("ride_decay", 0.5),
    "conga": _hand(1.0, 0.1),
    "bongo": _hand(2.0, 0.5),
    "cowbell": _cowbell,
    "clap": _clap,
    "shaker": _shaker,
}
PIECES = list(VOICES)


@lru_cache(maxsize=256)
def _layer(kit: Kit, piece: str, velocity: float, take: int) -> Audio:
    rng = np.random.default_rng([kit.seed, 29, PIECES.index(piece), take])
    return _finish(VOICES[piece](kit.numbers, rng, velocity), kit.numbers["drive"])


RANGES: dict[str, tuple[float, float]] = {
    "kick_hz": (42, 68), "kick_decay": (0.06, 0.2), "kick_drop": (1.5, 6), "kick_click": (0.05, 0.8),
    "snare_hz": (150, 260), "snare_decay": (0.05, 0.16), "snare_wires": (0.3, 1.0),
    "metal_hz": (280, 560), "hat_low_hz": (5500, 8500), "grit": (0.1, 0.8),
    "closed_decay": (0.015, 0.05), "open_decay": (0.12, 0.35),
    "tom_hz": (90, 150), "tom_decay": (0.1, 0.25), "crash_decay": (0.35, 0.8), "ride_decay": (0.2, 0.5),
    "hand_hz": (160, 260), "hand_decay": (0.06, 0.2), "bell_hz": (480, 700), "bell_decay": (0.04, 0.12),
    "clap_decay": (0.04, 0.12), "shaker_decay": (0.02, 0.06), "drive": (0.0, 2.5),
    "room_seconds": (0.1, 0.9), "room_wet": (0.0, 0.3),
}  # fmt: skip
STRANGE_RANGES = RANGES | {
    "kick_hz": (78, 92), "kick_decay": (0.24, 0.3), "kick_drop": (0.2, 0.6),
    "snare_hz": (330, 420), "snare_decay": (0.025, 0.035), "snare_wires": (1.4, 1.8),
    "metal_hz": (760, 900), "hat_low_hz": (2500, 3200), "closed_decay": (0.07, 0.09), "grit": (0.0, 0.05),
    "tom_hz": (210, 260), "tom_decay": (0.35, 0.45), "hand_hz": (360, 420), "bell_hz": (900, 1100),
    "drive": (3.5, 4.5), "room_seconds": (1.2, 1.5), "room_wet": (0.4, 0.5),
}  # fmt: skip
