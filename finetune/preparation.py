"""Everything a run needs, checked, loaded and encoded, before its first step."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from data_prep.dataset import Clip, DatasetError
from data_prep.dataset import clips as read_clips
from finetune.adapter import Adapter, AdapterSettings, attach
from finetune.average import MovingAverage, make_average
from finetune.base_model import BaseModel
from finetune.base_model.compiled import compile_blocks
from finetune.base_model.distinct import compute_padding_once
from finetune.base_model.lean_blocks import keep_less
from finetune.base_model.recompute import recompute_blocks
from finetune.base_model.storage import Precision, computes_in_bfloat16, load_frozen
from finetune.batches import Batches
from finetune.captions import possible_captions
from finetune.errors import WoodshedError
from finetune.fitting import SILENCE_MEANS, fitting_blocks
from finetune.generate import Request
from finetune.latents import EncodedDataset, encode_dataset
from finetune.memory import settle
from finetune.optimizer import make_optimizer
from finetune.preflight import check_dataset, check_run
from finetune.prior import play_prior, prior_prompts
from finetune.processes import device_of, main_first, make_accelerator, shard
from finetune.progress import say
from finetune.provenance.training_set import TrainingSet, check_sounds, read_dataset
from finetune.recipe import Recipe
from finetune.run_folder import CACHE, Parent, dataset_hash, recipe_hash
from finetune.samples import sample_requests


@dataclass
class Training:
    """Everything a run needs in memory."""

    run: Path
    recipe: Recipe
    accelerator: Accelerator
    base: BaseModel
    data: EncodedDataset
    batches: Batches
    adapter: Adapter
    optimizer: Any
    requests: list[Request]
    facts: dict[str, Any]
    parent: Parent | None
    average: MovingAverage | None
    training_set: TrainingSet

    @property
    def origin(self) -> int:
        """The step that the run began with: 0, or that of its parent where it left it."""
        return self.parent.step if self.parent else 0


def prepare(run: Path, recipe: Recipe, parent: Parent | None = None, begins: bool = True) -> Training:
    """Load the base, check everything that can fail, encode the dataset, attach the adapter.

    A run that does not begin is given its adapter by a checkpoint, and `adapter.init_from` is not looked for. Raises
    WoodshedError before anything is written but the cache of latents.
    """
    clips = training_clips(recipe)
    if not any(clip.split == "validation" for clip in clips):
        say(
            "No clips are held out, so no held-out loss is measured: nothing will say when to stop but your ears."
        )
    check_sounds(clips)
    training_set = read_dataset(Path(recipe.data.dataset))
    accelerator = make_accelerator(on_cpu(recipe), recipe.training.gradient_accumulation)
    device = device_of(accelerator)
    base, adapter = adapted_base(recipe, device, begins)
    requests = sample_requests(recipe, clips)
    with accelerator.main_process_first():  # the others find it in the cache
        base.place_encoders(device)
        data = _encoded(base, clips, requests, recipe, run.parent / CACHE)
        base.release_encoders()
    if recipe.base.shard:
        shard(accelerator, base)
    base.place_rest(device)
    with main_first(accelerator, base), adapter.absent():
        data = play_prior(base, data, recipe, run.parent / CACHE)
    spare_work(recipe, base, adapter, clips)
    optimizer = accelerator.prepare(make_optimizer(recipe.optimizer, adapter.named_parameters()))
    facts = {
        "recipe_sha256": recipe_hash(recipe),
        "base_fingerprint": base.fingerprint,
        "dataset_sha256": dataset_hash(clips),
        "device": device.type,
        "computes_in": str(base.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
    }
    batches = Batches(base, data, recipe)
    average = make_average(adapter, recipe.training.ema)
    return Training(
        run,
        recipe,
        accelerator,
        base,
        data,
        batches,
        adapter,
        optimizer,
        requests,
        facts,
        parent,
        average,
        training_set,
    )


def on_cpu(recipe: Recipe) -> bool:
    """Whether this machine trains on its processor. Raises WoodshedError when a GPU was asked for that is not there."""
    alone = recipe.training.device == "cpu" or not torch.cuda.is_available()
    if recipe.training.device == "cuda" and alone:
        raise WoodshedError("training.device: cuda was asked for and there is no GPU here; take auto or cpu.")
    return alone


def adapted_base(recipe: Recipe, device: torch.device, begins: bool = True) -> tuple[BaseModel, Adapter]:
    """The base, in main memory, with its adapter. Raises WoodshedError with all that would fail later."""
    base = load_frozen(recipe.base.model, precision(recipe, device), device)
    adapter = attach(base, _adapter_settings(recipe, begins), recipe.seed)
    check_run(recipe, base, adapter, device)
    return base, adapter


def spare_work(recipe: Recipe, base: BaseModel, adapter: Adapter, clips: list[Clip]) -> int:
    """Make steps as cheap as they are to be in training; returns how many blocks compute their activations again."""
    compute_padding_once(base)
    if recipe.training.compile:
        compile_blocks(base.transformer)
    else:
        keep_less(base.transformer, base.rounded)
    recomputed = fitting_blocks(recipe, base, adapter, clips)
    recompute_blocks(base.transformer, recomputed, bool(recipe.adapter.dropout))
    adapter.train(True)
    settle(recomputed > 0)
    return recomputed


def _encoded(
    base: BaseModel, clips: list[Clip], requests: list[Request], recipe: Recipe, cache: Path
) -> EncodedDataset:
    """The dataset with every text that the run may need."""
    prompts = [
        *possible_captions((clip for clip in clips if clip.split == "train"), recipe.data),
        *prior_prompts(recipe, clips),
        *(request.prompt for request in requests),
    ]
    turn = recipe.training.polarity_flip > 0
    return encode_dataset(base, clips, prompts, _silence_frames(recipe, base), cache, turn)


def training_clips(recipe: Recipe) -> list[Clip]:
    """All clips of the dataset, in one order whatever the folder's. Raises WoodshedError when none is to train on."""
    try:
        clips = sorted(read_clips(Path(recipe.data.dataset)), key=lambda clip: clip.id)
    except DatasetError as error:
        raise WoodshedError(str(error)) from error
    check_dataset(recipe, clips)
    return clips


def _adapter_settings(recipe: Recipe, begins: bool) -> AdapterSettings:
    chosen = asdict(recipe.adapter) | ({} if begins else {"init_from": None})
    return AdapterSettings(**{**chosen, "alpha": chosen["alpha"] or float(recipe.adapter.rank)})


def precision(recipe: Recipe, device: torch.device) -> Precision:
    """How the base lies in memory; `auto` is the widest that the device computes quickly in."""
    if recipe.base.dtype == "auto":
        return "bfloat16" if device.type == "cuda" and computes_in_bfloat16(device) else "float32"
    return recipe.base.dtype


def _silence_frames(recipe: Recipe, base: BaseModel) -> int:
    """How much silence is encoded: enough for all but one draw in 400, never more than a crop."""
    if recipe.data.length == "excerpt":
        return 0
    longest = min(SILENCE_MEANS * recipe.training.silence_seconds, recipe.data.crop_seconds)
    return base.seconds_to_frames(longest)
