"""A groove played by a hand on a kit: when each hit falls, how hard, and what it all sounds like together."""

from __future__ import annotations

import numpy as np

from finetune.base_model.starter.drums import SAMPLE_RATE, TAKES, Audio, Kit
from finetune.base_model.starter.styles import Groove, Step

TAIL_SECONDS = 3.4

Hit = tuple[str, int, float]  # piece, sample, velocity


def play(groove: Groove, bars: int, rng: np.random.Generator, fill_chance: float = 0.35) -> list[Hit]:
    """The hits of `bars` bars in order; the last bar may end in the groove's fill."""
    hits: list[Hit] = []
    late = {piece: float(rng.normal(0, 0.003)) for piece in sorted({step[0] for step in groove.bar})}
    for bar in range(bars):
        filled = bars > 1 and bar == bars - 1 and rng.random() < fill_chance
        for piece, beat, velocity in _steps(groove, filled):
            seconds = bar * groove.bar_seconds + groove.seconds_at(beat)
            seconds += late.get(piece, 0.0) * (beat > 0) + float(rng.normal(0, groove.jitter_seconds))
            hard = float(np.clip(velocity * np.exp(rng.normal(0, 0.09)), 0.05, 1))
            hits.append((piece, max(0, round(seconds * SAMPLE_RATE)), hard))
    return sorted(hits, key=lambda hit: hit[1])


def _steps(groove: Groove, filled: bool) -> list[Step]:
    if not filled:
        return list(groove.bar)
    start = min(step[1] for step in groove.fill)
    return [step for step in groove.bar if step[1] < start] + list(groove.fill)


def mix_down(kit: Kit, hits: list[Hit], length: int, rng: np.random.Generator, fold: bool) -> Audio:
    """(2, length) of the hits in the kit's room. `fold`: what rings beyond the end sounds at the beginning, as in a
    loop cut out of the middle of a performance; else it is cut off."""
    out = np.zeros((2, length + (int(TAIL_SECONDS * SAMPLE_RATE) if fold else 0)), np.float32)
    for piece, sample, velocity in hits:
        hit = kit.strike(piece, velocity, int(rng.integers(TAKES))) * np.float32(kit.level(piece))
        place(out, hit, sample, kit.pan(piece))
    out = kit.room.add(out)
    if fold:
        wrapped = out[:, length:]
        for start in range(0, wrapped.shape[1], length):
            part = wrapped[:, start : start + length]
            out[:, : part.shape[1]] += part
    return out[:, :length]


def place(out: Audio, hit: Audio, sample: int, pan: float) -> None:
    """Mix a mono hit into (2, samples) `out`, panned with constant power."""
    hit = hit[: max(0, out.shape[1] - sample)]
    angle = (pan + 1) * np.pi / 4
    for ear, gain in enumerate((np.cos(angle), np.sin(angle))):
        out[ear, sample : sample + len(hit)] += hit * np.float32(gain * np.sqrt(2))
