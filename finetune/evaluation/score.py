"""What an evaluation asks for: captions of held-out and of training clips, prompts outside the set, with seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from data_prep.dataset import Clip
from finetune.adapter.low_rank import LowRankAdapter
from finetune.batches import excerpt_seconds
from finetune.evaluation.kept import KeptPrompts
from finetune.evaluation.playing import Part
from finetune.evaluation.results import Sound
from finetune.generate import Request
from finetune.recipe import Recipe

OTHER_SEEDS, OTHER = 1000, "-other-seed"
TRAINING = "training"
FIRST_SEEDS = {"set": 0, TRAINING: 50}
FEWEST_SOUNDS = 2
REPEATING_GUIDANCE = 2.0
"""Guidance at which captions of training clips are played, at most: more leads away from what is known by heart. An
adapter overtrained on four clips repeats them in 12 of 12 sounds at 2, in 6 at 4."""


@dataclass(frozen=True)
class Settings:
    """How much is played. `sounds`: captions of held-out clips, as many of training clips and prompts outside the set,
    `seeds` sounds for each. `guidance` None is the recipe's. `minutes` lessens sounds and seeds until playing
    takes about that long here. `strength` None is that of the lowest held-out loss."""

    adapter: str | None = None
    sounds: int = 6
    seeds: int = 2
    steps: int = 30
    guidance: float | None = None
    minutes: float | None = None
    strength: float | None = None
    base: str | None = None
    dataset: str | None = None


@dataclass(frozen=True)
class Asker:
    """Makes requests as the recipe's own samples are made."""

    recipe: Recipe
    settings: Settings
    clips: Sequence[Clip]

    @property
    def guidance(self) -> float:
        given = self.settings.guidance
        return self.recipe.samples.guidance if given is None else given

    def request(
        self,
        prompt: str,
        seconds: float,
        seed: int,
        of_the_set: bool = True,
        most_guidance: float = math.inf,
    ) -> Request:
        told = excerpt_seconds(self.clips, self.recipe.data.length) if of_the_set else None
        guidance = min(self.guidance, most_guidance)
        return Request(prompt, seconds, seed, self.settings.steps, guidance, told)

    def to_repeat(self, prompt: str, seconds: float, seed: int) -> Request:
        """As it is most likely to repeat what it was trained on."""
        return self.request(prompt, seconds, seed, most_guidance=REPEATING_GUIDANCE)

    def seconds(self, clip: Clip) -> float:
        return min(clip.seconds, self.recipe.data.crop_seconds)

    def for_clips(
        self, clips: Sequence[Clip], name: str, adapter: LowRankAdapter | None, strength: float, seeds: int
    ) -> list[Part]:
        """The caption of each clip, at its length, with `seeds` seeds; `name` begins the ids, and has its own seeds."""
        kind: Literal["base", "adapted"] = "base" if adapter is None else "adapted"
        parts = []
        for number, clip in enumerate(clips, start=1):
            for take in range(seeds):
                pair, seed = f"{name}-{number}-{take + 1}", FIRST_SEEDS[name] + number * 100 + take
                ask = self.to_repeat if name == TRAINING else self.request
                request = ask(clip.text, self.seconds(clip), seed)
                sound = Sound(
                    id=f"{pair}-{kind}" + (f"-{strength:g}" if adapter else ""),
                    file="",
                    kind=kind,
                    seconds=request.seconds,
                    prompt=clip.text,
                    pair=pair,
                    seed=seed,
                    strength=strength,
                )
                parts.append(Part(replace(sound, file=f"audio/{sound.id}.flac"), request, adapter))
        return parts

    def for_prompts(
        self,
        kept: KeptPrompts,
        adapter: LowRankAdapter | None,
        strength: float,
        seeds: int,
        first_seed: int = 0,
    ) -> list[Part]:
        """Prompts outside the set."""
        parts = []
        for number, prompt in enumerate(kept.prompts, start=1):
            for take in range(seeds):
                pair, seed = f"kept-{number}-{take + 1}", first_seed + number * 100 + take
                request = self.request(prompt, kept.seconds, seed, of_the_set=False)
                name = f"{pair}-{'base' if adapter is None else f'adapted-{strength:g}'}"
                if first_seed:
                    name += OTHER
                sound = Sound(
                    id=name,
                    file=f"audio/{name}.flac",
                    kind="base" if adapter is None else "adapted",
                    seconds=kept.seconds,
                    prompt=prompt,
                    prompt_set="kept",
                    pair=pair,
                    seed=seed,
                    strength=strength,
                )
                parts.append(Part(sound, request, adapter))
        return parts


def lessened(settings: Settings, kept: KeptPrompts, seconds_each: float) -> tuple[Settings, KeptPrompts]:
    """Fewer seeds, then fewer sounds, until `minutes` are enough at `seconds_each`; never fewer than distances need."""
    sounds, seeds, prompts = settings.sounds, settings.seeds, min(settings.sounds, len(kept.prompts))
    while (
        settings.minutes is not None
        and seconds_each * seeds * (3 * sounds + 4 * prompts) > 60 * settings.minutes
    ):
        if seeds > 1:
            seeds -= 1
        elif max(sounds, prompts) > FEWEST_SOUNDS:
            sounds, prompts = max(FEWEST_SOUNDS, sounds - 1), max(FEWEST_SOUNDS, prompts - 1)
        else:
            break
    return replace(settings, sounds=sounds, seeds=seeds), replace(kept, prompts=kept.prompts[:prompts])
