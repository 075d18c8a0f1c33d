"""A small personal library, synthesised: one drummer with a kit and a feel of their own, several takes.

The kit's numbers lie outside every range that the starter base was trained on, so there is something to learn.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

from finetune.base_model.starter.drums import SAMPLE_RATE, Kit
from finetune.base_model.starter.performance import mix_down, play
from finetune.base_model.starter.styles import Groove, Step

TEMPOS = (84, 96, 104, 112, 92, 100)
BARS = 8


def write_library(folder: Path, takes: int = len(TEMPOS), seed: int = 7) -> list[Path]:
    """Write the takes as 24-bit WAV, each named with its tempo; the same seed writes the same files.

    Another seed is another drummer: another kit, equally strange, and the next of the three feels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kit, paths = Kit(seed, strange=True), []
    feel = FEELS[(seed - 7) % len(FEELS)]
    for number, bpm in enumerate(TEMPOS[:takes], start=1):
        rng = np.random.default_rng([seed, number])
        groove = feel(bpm, rng)
        length = round((BARS * groove.bar_seconds + 1.0) * SAMPLE_RATE)
        take = mix_down(kit, play(groove, BARS, rng), length, rng, fold=False)
        lead_in = np.zeros((2, int(rng.uniform(0.2, 0.9) * SAMPLE_RATE)))
        tail = np.zeros((2, SAMPLE_RATE // 2))
        sound = np.concatenate([lead_in, take, tail], axis=1)
        sound = 0.7 * sound / np.abs(sound).max() + 2e-4 * rng.standard_normal(sound.shape)
        paths.append(folder / f"take {number}, {bpm} bpm.wav")
        sf.write(paths[-1], sound.T, SAMPLE_RATE, subtype="PCM_24")
    return paths


def _swung_bells(bpm: int, rng: np.random.Generator) -> Groove:
    """Swung hats, a backbeat with ghosts, bell on the off-beats, busy kick."""
    hats = [("closed hi-hat", s / 4, 0.55 if s % 4 == 0 else 0.3) for s in range(16) if s % 4 != 1]
    kicks = [("kick", s / 4, 0.95) for s in sorted({0, 7, 10} | {int(rng.choice([3, 6, 11]))})]
    snares = [("snare", 1.0, 0.9), ("snare", 3.0, 0.9), ("snare", 2.25, 0.25), ("snare", 3.75, 0.3)]
    bells = [("cowbell", beat + 0.5, 0.4) for beat in range(4) if rng.random() < 0.7]
    return Groove("4/4", bpm, 0.64, 0.5, (*hats, *kicks, *snares, *bells), _down_the_toms(), 0.004)


def _half_time(bpm: int, rng: np.random.Generator) -> Groove:
    """Snare on three alone, toms that answer it, a ride on every off-beat."""
    rides = [("ride cymbal", beat + 0.5, 0.7) for beat in range(4)]
    kicks = [("kick", 0.0, 1.0), ("kick", float(rng.choice([1.25, 1.5, 1.75])), 0.8), ("kick", 2.75, 0.7)]
    toms = [
        (str(rng.choice(["mid tom", "floor tom"])), 3 + s / 4, 0.8) for s in range(4) if rng.random() < 0.7
    ]
    return Groove(
        "4/4", bpm, 0.5, 0.5, (*rides, *kicks, ("snare", 2.0, 0.95), *toms), _down_the_toms(), 0.006
    )


def _march_of_bells(bpm: int, rng: np.random.Generator) -> Groove:
    """Bass drum on every beat, bell in threes against it, open hats between, a stick on the rim."""
    kicks = [("kick", float(beat), 0.95) for beat in range(4)]
    bells = [("cowbell", s / 4, 0.8) for s in (0, 3, 6, 8, 11, 14)]
    hats = [("open hi-hat", beat + 0.5, 0.6) for beat in range(4) if rng.random() < 0.8]
    sticks = [("side stick", s / 4, 0.8) for s in (4, 12, int(rng.choice([7, 10, 15])))]
    return Groove("4/4", bpm, 0.5, 0.5, (*kicks, *bells, *hats, *sticks), _down_the_toms(), 0.003)


def _down_the_toms() -> tuple[Step, ...]:
    high = [(piece, 2 + i / 4, 0.8) for i, piece in enumerate(["high tom", "high tom", "mid tom", "mid tom"])]
    return (*high, *(("floor tom", 3 + i / 4, 0.85) for i in range(4)))


FEELS: tuple[Callable[[int, np.random.Generator], Groove], ...] = (_swung_bells, _half_time, _march_of_bells)
