"""The clips that the starter base learns from: audio with the facts that its caption states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from finetune.base_model.starter.drums import PIECES, SAMPLE_RATE, TAKES, Audio, Kit
from finetune.base_model.starter.kits import IMPORTANT
from finetune.base_model.starter.performance import Hit, mix_down, place, play
from finetune.base_model.starter.styles import Groove, draw_fill, draw_groove

SHORTEST_SECONDS, LONGEST_SECONDS = 1.2, 12.0
LOOPS, PHRASES = 18, 2
FEWEST_BEATS = 6  # fewer do not make a pulse
APART = round(0.03 * SAMPLE_RATE)
"""Hits closer together than this are heard as one."""


@dataclass(frozen=True)
class Clip:
    """`audio`: (2, samples) float32 at 44.1 kHz, peak at most 1; `facts`: what is true of it.

    Facts are `kind`, `pieces` (most played first), `seconds`, `room`, `hits` (samples at which something is struck)
    and, but for one-shots, `tempo`, `metre` and `standard`; loops have a `swing`.
    """

    audio: np.ndarray
    facts: dict[str, object]


def one_shot(kit: Kit, piece: str, velocity: float, rng: np.random.Generator) -> Clip:
    """A single hit with its tail, 0.5 to 2.5 s, cymbals to 3.5 s."""
    hit = kit.strike(piece, velocity, int(rng.integers(TAKES)))
    longest = 3.5 if "cymbal" in piece else 2.5
    ring = len(hit) / SAMPLE_RATE + 0.6 * kit.room.seconds
    seconds = float(np.clip(ring * rng.uniform(0.8, 1.3), 0.5, longest))
    out = np.zeros((2, int(seconds * SAMPLE_RATE)), np.float32)
    start = int(rng.uniform(0, 0.006) * SAMPLE_RATE)
    place(out, hit, start, kit.pan(piece) * (rng.random() < 0.5))
    audio = _fade_out(kit.room.add(out), 0.02)
    return _clip(kit, audio, [(piece, start, velocity)], {"kind": "one-shot"}, rng)


def loop(kit: Kit, groove: Groove, rng: np.random.Generator) -> Clip:
    """Whole bars from the downbeat, 1 to 8 of them and 1.2 to 12 s, exact to the sample."""
    bars = _draw_bars(groove, rng)
    length = round(bars * groove.bar_seconds * SAMPLE_RATE)
    hits = [hit for hit in play(groove, bars, rng) if hit[1] < length]
    audio = mix_down(kit, hits, length, rng, fold=bool(rng.random() < 0.5))
    return _clip(kit, audio, hits, {"kind": "loop"} | _music(groove), rng)


def phrase(kit: Kit, groove: Groove, rng: np.random.Generator) -> Clip:
    """A short solo with silence before and after it."""
    before, bars = rng.uniform(0.03, 0.4), 1 if groove.bar_seconds > 2 or rng.random() < 0.5 else 2
    hits: list[Hit] = []
    for bar in range(bars):
        solo = draw_fill(rng, groove.metre, kit.pieces) + draw_fill(rng, groove.metre, kit.pieces)
        for piece, beat, velocity in sorted(set(solo), key=lambda step: (step[1], step)):
            seconds = before + bar * groove.bar_seconds + groove.seconds_at(beat)
            seconds += abs(float(rng.normal(0, groove.jitter_seconds)))
            hits.append((piece, round(seconds * SAMPLE_RATE), velocity))
    quiet = hits[0][1] - round(before * SAMPLE_RATE)
    hits = [(piece, sample - quiet, velocity) for piece, sample, velocity in sorted(hits, key=lambda h: h[1])]
    ending = before + rng.uniform(0.4, 1.2)
    length = min(int(LONGEST_SECONDS * SAMPLE_RATE), hits[-1][1] + int(ending * SAMPLE_RATE))
    audio = _fade_out(mix_down(kit, hits, length, rng, fold=False), 0.05)
    music = {name: value for name, value in _music(groove).items() if name != "swing"}  # too short to tell
    return _clip(kit, audio, hits, {"kind": "phrase"} | music, rng)


def kit_clips(seed: int, number: int) -> Iterator[Clip]:
    """The clips of kit `number`: every piece once, the important ones also soft, loops and phrases."""
    rng = np.random.default_rng([seed, number])
    kit = Kit(int(rng.integers(2**31)))
    for piece in kit.pieces:
        yield one_shot(kit, piece, float(rng.uniform(0.7, 1.0)), rng)
        if piece in IMPORTANT:
            yield one_shot(kit, piece, float(rng.uniform(0.2, 0.7)), rng)
    for _ in range(LOOPS):
        yield loop(kit, draw_groove(rng, kit.pieces), rng)
    for _ in range(PHRASES):
        yield phrase(kit, draw_groove(rng, kit.pieces), rng)


def training_clips(seed: int, kits: int) -> Iterator[Clip]:
    """The whole training sound, kit after kit. Deterministic by seed; kits can be rendered in any order."""
    for number in range(kits):
        yield from kit_clips(seed, number)


def _draw_bars(groove: Groove, rng: np.random.Generator) -> int:
    """Mostly 1, 2, 4 or 8 bars that last about as long as is wished for, often 3 to 6 s."""
    wished = float(np.exp(rng.normal(np.log(4.0), 0.5)))
    able = [n for n in range(1, 9) if SHORTEST_SECONDS <= n * groove.bar_seconds <= LONGEST_SECONDS]
    able = [n for n in able if n * groove.beats >= FEWEST_BEATS] or able[-1:]
    usual = [n for n in able if n in (1, 2, 4, 8)] or able
    choice = usual if rng.random() < 0.85 else able
    return min(choice, key=lambda n: abs(np.log(n * groove.bar_seconds / wished)))


def _clip(
    kit: Kit, audio: Audio, hits: list[Hit], facts: dict[str, object], rng: np.random.Generator
) -> Clip:
    """Level the audio and add the noise floor of a recording, and note who played and when."""
    peak = np.abs(audio).max() + 1e-9
    audible = audio * np.float32(10 ** (-rng.uniform(0.5, 6) / 20) / peak)
    floor = np.float32(10 ** (-rng.uniform(66, 86) / 20))
    channels = 1 if np.array_equal(audio[0], audio[1]) else 2  # what is mono was recorded with one microphone
    audible += floor * rng.standard_normal((channels, audio.shape[1]), dtype=np.float32)
    count = {piece: sum(hit[0] == piece for hit in hits) for piece in PIECES}
    struck = np.array([hit[1] for hit in hits])
    first = np.r_[True, np.diff(struck) >= APART]
    known = {
        "pieces": sorted((p for p in PIECES if count[p]), key=lambda p: -count[p]),
        "seconds": audio.shape[1] / SAMPLE_RATE, "room": kit.room.word, "hits": struck[first].tolist(),
    }  # fmt: skip
    return Clip(np.clip(audible, -1, 1), facts | known)


def _music(groove: Groove) -> dict[str, object]:
    return {
        "tempo": groove.bpm,
        "metre": groove.metre,
        "swing": groove.swing,
        "standard": groove.standard,
    }


def _fade_out(audio: Audio, seconds: float) -> Audio:
    fade = int(seconds * SAMPLE_RATE)
    audio[:, -fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return audio
