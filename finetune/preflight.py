"""What can be known to fail is said before anything is encoded, all of it at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

import torch

from data_prep.dataset import SAMPLE_RATE, Clip
from finetune.adapter import Adapter
from finetune.base_model import BaseModel, base_to_train
from finetune.base_model.compiled import can_compile
from finetune.captions import has_trigger
from finetune.errors import WoodshedError
from finetune.files import from_home
from finetune.optimizer import GPU_ONLY, STATE_BYTES
from finetune.progress import say
from finetune.recipe import Recipe

FREE_BYTES = 200e6  # left over for everything else that writes to the disk


def check_dataset(recipe: Recipe, clips: Sequence[Clip]) -> None:
    """Raises WoodshedError when there is nothing to train on; says what is not as the recipe may mean it."""
    trained = [clip for clip in clips if clip.split == "train"]
    if not trained:
        raise WoodshedError(
            f"The dataset '{recipe.data.dataset}' has no training clips; `woodshed prep` says why it left them out."
        )
    if recipe.data.crop == "bars":
        _check_bars([clip for clip in trained if clip.seconds > recipe.data.crop_seconds])
    trigger = recipe.data.trigger
    if trigger and not any(has_trigger(text, trigger) for clip in trained for text in clip.captions):
        say(f"data.trigger: '{trigger}' stands in no caption of the dataset; it is put in while training.")


def _check_bars(long: list[Clip]) -> None:
    unknown = sum(clip.bars is None for clip in long)
    if long and unknown == len(long):
        raise WoodshedError(
            "data.crop: bars was asked for, and of no clip longer than data.crop_seconds are the bars known. Run "
            "`woodshed prep` again with --bpm, or take data.crop=random."
        )
    if unknown:
        say(
            f"data.crop: the bars of {unknown} of {len(long)} long clips are not known; they are cropped anywhere."
        )


def check_run(recipe: Recipe, base: BaseModel, adapter: Adapter, device: torch.device) -> None:
    """Raises WoodshedError with everything that would make this run fail later."""
    problems = [*_base_problems(recipe, base), *_disk_problems(recipe, base, adapter)]
    if recipe.optimizer.name in GPU_ONLY and device.type != "cuda":
        problems.append(
            f"optimizer.name: {recipe.optimizer.name} moves its state between GPU and CPU and this machine trains on "
            f"{device.type}; take {recipe.optimizer.name.removeprefix('paged')}."
        )
    if recipe.training.compile and not can_compile(device):
        problems.append("training.compile: there is no C++ compiler here; install g++, or leave it false.")
    if problems:
        raise WoodshedError("\n".join(problems))


def _base_problems(recipe: Recipe, base: BaseModel) -> Iterator[str]:
    if base.post_trained:
        yield (
            f"base.model: '{base.name}' is a post-trained model, made to generate in few steps. Train on its base, "
            f"base.model={base_to_train(base.name)}; the adapter then works on both."
        )
    if base.sample_rate != SAMPLE_RATE:
        yield f"base.model: '{base.name}' works at {base.sample_rate} Hz; datasets are at {SAMPLE_RATE} Hz."
    if base.seconds_to_frames(recipe.data.crop_seconds) < 2:
        shortest = 2 * base.samples_per_latent / base.sample_rate
        yield f"data.crop_seconds: {recipe.data.crop_seconds:g} is too short for this base; at least {shortest:.2f}."


def _disk_problems(recipe: Recipe, base: BaseModel, adapter: Adapter) -> Iterator[str]:
    weights = sum(parameter.numel() for parameter in adapter.parameters())
    one_checkpoint = weights * (4 + STATE_BYTES[recipe.optimizer.name] + (4 if recipe.training.ema else 0))
    besides = 3  # the one that is written before another goes, the best, the last before the loss went away
    adapters = 2 * 4 * weights  # at the end and the best
    needed = (recipe.training.keep_checkpoints + besides) * one_checkpoint + adapters + FREE_BYTES
    folder = from_home(recipe.output.root).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        yield (
            f"output.root: the disk of '{folder}' has {free / 1e9:.1f} GB free and this run needs {needed / 1e9:.1f} "
            "GB for its checkpoints. Make room, name another output.root, or lower training.keep_checkpoints."
        )
