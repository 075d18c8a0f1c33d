"""A small personal library, synthesised: one drummer with a kit and a feel of their own, several takes.

The kit's numbers lie outside every range that the starter base was trained on, so there is something to learn.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

from finetune.base_model.starter.drums import SAMPLE_RATE, Kit
from finetune.base_model.starter.performance import mix_down, play
from finetune.base_model.starter.styles import Groove

TEMPOS = (84, 96, 104, 112, 92, 100)
SWING = 0.64
BARS = 8


def write_library(folder: Path, takes: int = len(TEMPOS), seed: int = 7) -> list[Path]:
    """Write the takes as 24-bit WAV, each named with its tempo; the same seed writes the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    kit, paths = Kit(seed, strange=True), []
    for number, bpm in enumerate(TEMPOS[:takes], start=1):
        rng = np.random.default_rng([seed, number])
        groove = _feel(bpm, rng)
        length = round((BARS * groove.bar_seconds + 1.0) * SAMPLE_RATE)
        take = mix_down(kit, play(groove, BARS, rng), length, rng, fold=False)
        lead_in = np.zeros((2, int(rng.uniform(0.2, 0.9) * SAMPLE_RATE)))
        tail = np.zeros((2, SAMPLE_RATE // 2))
        sound = np.concatenate([lead_in, take, tail], axis=1)
        sound = 0.7 * sound / np.abs(sound).max() + 2e-4 * rng.standard_normal(sound.shape)
        paths.append(folder / f"take {number}, {bpm} bpm.wav")
        sf.write(paths[-1], sound.T, SAMPLE_RATE, subtype="PCM_24")
    return paths


def _feel(bpm: int, rng: np.random.Generator) -> Groove:
    """This drummer's groove: swung hats, a late backbeat on the snare, bell on the off-beats, busy kick."""
    hats = [("closed hi-hat", s / 4, 0.55 if s % 4 == 0 else 0.3) for s in range(16) if s % 4 != 1]
    kicks = [("kick", s / 4, 0.95) for s in sorted({0, 7, 10} | {int(rng.choice([3, 6, 11]))})]
    snares = [("snare", 1.0, 0.9), ("snare", 3.0, 0.9), ("snare", 2.25, 0.25), ("snare", 3.75, 0.3)]
    bells = [("cowbell", beat + 0.5, 0.4) for beat in range(4) if rng.random() < 0.7]
    fill = [(piece, 2 + i / 4, 0.8) for i, piece in enumerate(["high tom", "high tom", "mid tom", "mid tom"])]
    fill += [("floor tom", 3 + i / 4, 0.85) for i in range(4)]
    return Groove("4/4", bpm, SWING, 0.5, (*hats, *kicks, *snares, *bells), tuple(fill), 0.004)
