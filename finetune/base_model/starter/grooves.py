"""Grooves, rooms and the clips that the starter base learns from: audio with the facts that its caption states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve

from finetune.base_model.starter.drums import PIECES, SAMPLE_RATE, Audio, Kit

Step = tuple[str, float, float]  # piece, position in beats from the bar line, velocity 0..1

GRIDS = {"4/4": 16, "3/4": 12, "7/8": 14, "5/4": 20, "6/8": 12}  # sixteenths in a bar


@dataclass(frozen=True)
class Groove:
    """A bar that repeats: who plays where, and with what feel. `swing` is the long eighth's share, .5 straight."""

    metre: str
    bpm: float
    swing: float
    bar: tuple[Step, ...]
    fill: tuple[Step, ...]
    jitter_seconds: float

    @property
    def beats(self) -> float:
        """Quarter notes in a bar."""
        return GRIDS[self.metre] / 4


@dataclass(frozen=True)
class Clip:
    """`audio`: (2, samples) float32 at 44.1 kHz, peak at most 1; `facts` is what a caption may say of it."""

    audio: np.ndarray
    facts: dict[str, object]


def draw_groove(rng: np.random.Generator, metre: str | None = None, bpm: float | None = None) -> Groove:
    """A plausible groove: backbeat or displaced, eighth or sixteenth time-keeping, ghost notes, a fill."""
    metre = metre or str(rng.choice(list(GRIDS), p=[0.7, 0.08, 0.1, 0.05, 0.07]))
    bpm = bpm or round(float(np.exp(rng.uniform(np.log(70), np.log(180)))))
    swing = float(rng.choice([0.5, rng.uniform(0.56, 0.67)], p=[0.75, 0.25]))
    steps = GRIDS[metre]
    bar = _timekeeping(rng, steps) + _backbeat(rng, steps, metre) + _decoration(rng, steps)
    return Groove(metre, bpm, swing, tuple(bar), tuple(_fill(rng, steps)), float(rng.uniform(0.001, 0.007)))


def _timekeeping(rng: np.random.Generator, steps: int) -> list[Step]:
    piece = str(rng.choice(["closed hi-hat", "ride cymbal", "shaker", "none"], p=[0.62, 0.16, 0.1, 0.12]))
    every = int(rng.choice([1, 2, 4], p=[0.25, 0.6, 0.15]))
    if piece == "none":
        return []
    accents = rng.uniform(0.25, 0.45), rng.uniform(0.4, 0.7)
    kept = [(piece, s / 4, accents[s % 4 == 0]) for s in range(0, steps, every) if rng.random() < 0.96]
    if piece == "closed hi-hat" and rng.random() < 0.4:
        kept = [*kept[:-1], ("open hi-hat", kept[-1][1], 0.5)]
    return kept


def _backbeat(rng: np.random.Generator, steps: int, metre: str) -> list[Step]:
    low, high = [("kick", "snare"), ("kick", "clap"), ("conga", "bongo"), ("floor tom", "cowbell")][
        int(rng.choice(4, p=[0.7, 0.08, 0.14, 0.08]))
    ]
    kicks = {0} | {s for s in range(2, steps, 2) if rng.random() < 0.22}
    back = {4, 12} if metre == "4/4" else {s for s in (4, 10, 16) if s < steps}
    if rng.random() < 0.2:
        back = {(s + int(rng.choice([-1, 2]))) % steps for s in back}
    steps_low = [(low, s / 4, float(rng.uniform(0.75, 1.0))) for s in sorted(kicks - back)]
    return steps_low + [(high, s / 4, float(rng.uniform(0.7, 0.95))) for s in sorted(back)]


def _decoration(rng: np.random.Generator, steps: int) -> list[Step]:
    piece, chance = [("snare", 0.15), ("conga", 0.2), ("cowbell", 0.1), ("high tom", 0.06)][
        int(rng.integers(4))
    ]
    if rng.random() < 0.45:
        return []
    return [
        (piece, s / 4, float(rng.uniform(0.12, 0.35))) for s in range(1, steps, 2) if rng.random() < chance
    ]


def _fill(rng: np.random.Generator, steps: int) -> list[Step]:
    toms = ["snare", "high tom", "mid tom", "floor tom"]
    start = steps - int(rng.choice([4, 6, 8]))
    return [
        (toms[min(3, (s - start) // 2)], s / 4, float(rng.uniform(0.5, 0.9))) for s in range(start, steps)
    ]


def perform(kit: Kit, groove: Groove, bars: int, rng: np.random.Generator, fills: bool = True) -> Audio:
    """`bars` bars of the groove as (2, samples) audio, cut exactly at the last bar line, tails folded out."""
    beat_seconds = 60 / groove.bpm
    length = round(bars * groove.beats * beat_seconds * SAMPLE_RATE)
    out = np.zeros((2, length + 3 * SAMPLE_RATE))
    for bar in range(bars):
        with_fill = fills and bars > 1 and bar == bars - 1 and rng.random() < 0.4
        cut = min((step[1] for step in groove.fill), default=0.0) if with_fill else groove.beats
        steps = [s for s in groove.bar if s[1] < cut] + (list(groove.fill) if with_fill else [])
        for piece, beat, velocity in steps:
            at = (bar * groove.beats + _swung(beat, groove.swing)) * beat_seconds
            at = max(0.0, at + float(rng.normal(0, groove.jitter_seconds)))
            place(out, kit, piece, at, float(np.clip(velocity * rng.uniform(0.85, 1.1), 0.05, 1)), rng)
    return add_room(out[:, :length], kit)


def _swung(beat: float, swing: float) -> float:
    """Delay the off-beat sixteenths so that the first of each pair lasts `swing` of it."""
    pair, rest = divmod(beat, 0.5)
    return pair * 0.5 + (swing * 0.5 if rest == 0.25 else rest)


def place(
    out: Audio, kit: Kit, piece: str, seconds: float, velocity: float, rng: np.random.Generator
) -> None:
    """Mix one hit into (2, samples) `out` at `seconds`, with the kit's stereo place (constant power)."""
    hit = kit.strike(piece, velocity, int(rng.integers(4)))
    start = round(seconds * SAMPLE_RATE)
    hit = hit[: max(0, out.shape[1] - start)]
    angle = (kit.pan(piece) + 1) * np.pi / 4
    out[0, start : start + len(hit)] += hit * np.cos(angle) * np.sqrt(2)
    out[1, start : start + len(hit)] += hit * np.sin(angle) * np.sqrt(2)


def add_room(dry: Audio, kit: Kit) -> Audio:
    """Convolve with a decaying-noise room of the kit's size; two different ears."""
    wet, decay = kit.numbers["room_wet"], kit.numbers["room_seconds"]
    if wet < 0.03:
        return dry
    rng = np.random.default_rng([kit.seed, 41])
    t = np.arange(int(decay * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal((2, len(t))) * np.exp(-6.9 * t / decay) / np.sqrt(len(t) / 6)
    echo = np.stack([fftconvolve(dry[ear], response[ear])[: dry.shape[1]] for ear in range(2)])
    return dry + wet * echo


def _level(audio: Audio, rng: np.random.Generator) -> np.ndarray:
    peak = np.abs(audio).max() + 1e-9
    audible = audio / peak * 10 ** (-rng.uniform(1, 6) / 20)
    return (audible + rng.standard_normal(audio.shape) * 10 ** (-rng.uniform(66, 86) / 20)).astype(np.float32)


def one_shot(kit: Kit, piece: str, rng: np.random.Generator) -> Clip:
    """A single hit with its tail, 0.5 to 2.5 s."""
    velocity = float(rng.uniform(0.3, 1.0))
    hit = kit.strike(piece, velocity, int(rng.integers(1000)))
    seconds = float(np.clip(len(hit) / SAMPLE_RATE + kit.numbers["room_seconds"] * 0.5, 0.5, 2.5))
    out = np.zeros((2, int(seconds * SAMPLE_RATE)))
    place(out, kit, piece, 0.004, velocity, rng)
    facts = {"kind": "one-shot", "pieces": [piece], "seconds": seconds}
    return Clip(_level(add_room(out, kit), rng), facts | _character(kit))


def loop(kit: Kit, groove: Groove, rng: np.random.Generator, longest_seconds: float = 12.0) -> Clip:
    """One to eight whole bars, as many as fit a length drawn between 2 s and `longest_seconds`."""
    bar_seconds = groove.beats * 60 / groove.bpm
    wanted = rng.uniform(2, min(8.0, longest_seconds)) if rng.random() < 0.85 else longest_seconds
    bars = int(np.clip(round(wanted / bar_seconds), 1, max(1, longest_seconds // bar_seconds)))
    audio = perform(kit, groove, bars, rng)
    pieces = sorted({step[0] for step in groove.bar}, key=PIECES.index)
    facts = {
        "kind": "loop", "pieces": pieces, "bpm": groove.bpm, "metre": groove.metre, "swing": groove.swing,
        "seconds": audio.shape[1] / SAMPLE_RATE, "hits_per_second": len(groove.bar) / bar_seconds,
    }  # fmt: skip
    return Clip(_level(audio, rng), facts | _character(kit))


def _character(kit: Kit) -> dict[str, object]:
    return {
        "room": kit.numbers["room_wet"] * kit.numbers["room_seconds"],
        "hat_low_hz": kit.numbers["hat_low_hz"],
    }


def training_clips(seed: int, kits: int) -> Iterator[Clip]:
    """The whole training sound: for each kit every piece once and as many loops. Deterministic by seed."""
    for number in range(kits):
        rng = np.random.default_rng([seed, number])
        kit = Kit(int(rng.integers(2**31)))
        for piece in PIECES:
            yield one_shot(kit, piece, rng)
        for _ in range(len(PIECES)):
            yield loop(kit, draw_groove(rng), rng)
