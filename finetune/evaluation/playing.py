"""Sounds for an evaluation: prompts by base and adapter at equal seeds, those of one length sampled together."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from finetune.adapter.blend import AdapterUse, Blend
from finetune.adapter.low_rank import LowRankAdapter
from finetune.base_model import BaseModel
from finetune.evaluation.results import Sound
from finetune.generate import Request, generate_batch
from finetune.progress import Report

BATCH = 8


@dataclass(frozen=True)
class Part:
    """One sound that is still to be played: by `adapter` at `strength`, or by the base where that is None."""

    sound: Sound
    request: Request
    adapter: LowRankAdapter | None


@dataclass
class Stage:
    """What was played so far, by the sounds' ids; and how long it took."""

    base: BaseModel
    sounds: list[Sound] = field(default_factory=list)
    audio: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: float = 0.0

    def play(self, parts: Sequence[Part], report: Report, done: int = 0) -> None:
        """Play `parts`; the report counts them from `done` on."""
        began = time.monotonic()
        for _, group in itertools.groupby(parts, lambda part: (id(part.adapter), part.sound.strength)):
            together = list(group)
            adapter, strength = together[0].adapter, together[0].sound.strength
            uses = [] if adapter is None else [AdapterUse(adapter, "the adapter", strength or 0.0)]
            with Blend(self.base, uses):
                for batch in batches(together):
                    made = generate_batch(self.base, [part.request for part in batch])
                    for part, audio in zip(batch, made, strict=True):
                        self.add(part.sound, audio)
                    done += len(batch)
                    report(done, together[0].sound.kind)
        self.seconds += time.monotonic() - began

    def add(self, sound: Sound, audio: np.ndarray) -> None:
        self.sounds.append(sound)
        self.audio[sound.id] = audio

    def of(self, wanted: Callable[[Sound], bool]) -> list[np.ndarray]:
        """The audio of those sounds, in the order of their being played."""
        return [self.audio[sound.id] for sound in self.sounds if wanted(sound)]


def batches(parts: Sequence[Part], most: int = BATCH) -> list[list[Part]]:
    """At most `most` parts each, all of one length and guidance, in order of length."""

    def alike(part: Part) -> tuple[float, float]:
        return part.request.seconds, part.request.guidance

    found = []
    for _, group in itertools.groupby(sorted(parts, key=alike), alike):
        same = list(group)
        found += [same[n : n + most] for n in range(0, len(same), most)]
    return found
