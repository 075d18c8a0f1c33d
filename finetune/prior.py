"""What the base itself plays, to train with beside the recordings, so that it is not forgotten.

Prior preservation (Ruiz et al. 2023, 3.2): for captions of the kind of sound that is learned, without the word that
calls the adapter, the base generates clips before it is adapted. They are sampled without guidance: such sound is what
the base already believes in, and there is nothing in it to learn but to stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from data_prep.dataset import Clip
from finetune.base_model import BaseModel
from finetune.batches import seconds_total
from finetune.captions import without_trigger
from finetune.crops import make_crops
from finetune.generate import Request, sample_latents
from finetune.latents import PRIOR, VERSION, Encode, EncodedClip, EncodedDataset, fill_cache
from finetune.recipe import Recipe

STEPS = 50
Thing = TypeVar("Thing")


def prior_prompts(recipe: Recipe, clips: Sequence[Clip]) -> list[str]:
    """What the base is asked for, a text for each clip that it plays; none without `training.prior_share`."""
    training, trigger = recipe.training, recipe.data.trigger
    texts = training.prior_prompts
    if trigger and not texts:
        texts = [without_trigger(clip.text, trigger) for clip in clips if clip.split == "train"]
    return _spread(texts, training.prior_clips) if training.prior_share else []


def play_prior(base: BaseModel, data: EncodedDataset, recipe: Recipe, cache: Path) -> EncodedDataset:
    """`data` with the clips of `prior_prompts`, which `base` plays where `cache` does not hold them yet.

    Their lengths, and what is told of them, are those of training clips. The base must be without adapter.
    """
    prompts = prior_prompts(recipe, [clip.clip for clip in data.clips])
    crops, jobs, prior = make_crops(base, recipe.data), dict[Path, Encode](), []
    for number, (prompt, model) in enumerate(
        zip(prompts, _spread(data.split("train"), len(prompts)), strict=True)
    ):
        frames = crops.frames(model)
        request = Request(
            prompt,
            frames * base.samples_per_latent / base.sample_rate,
            seed=number,
            steps=STEPS,
            guidance=1.0,
            seconds_total=seconds_total(model.clip, recipe.data.length),
        )
        file = cache / "latents" / _name(base, recipe, request)
        jobs[file] = partial(_play, base, data, request)
        clip = replace(model.clip, id=f"{PRIOR}-{number:04}", split=PRIOR, text=prompt, captions=(prompt,))
        prior.append(EncodedClip(clip, frames, file))
    fill_cache(jobs, "Playing", "what the base plays by itself, once")
    return replace(data, prior=prior)


def _play(base: BaseModel, data: EncodedDataset, request: Request) -> dict[str, torch.Tensor]:
    return {"latents": sample_latents(base, data.prompt(request.prompt), request)[0].cpu()}


def _name(base: BaseModel, recipe: Recipe, request: Request) -> str:
    content = f"prior\n{base.fingerprint} {VERSION} {recipe.base.dtype} {base.dtype}\n{request}"
    return hashlib.sha256(content.encode()).hexdigest() + ".safetensors"


def _spread(things: Sequence[Thing], count: int) -> list[Thing]:
    """`count` of them, evenly from the first to the last, again and again where there are fewer."""
    many = len(things)
    return [things[number * many // count if many > count else number % many] for number in range(count)]
