"""The adapters that a run has on disk: the best one, the one at the end, and those of its checkpoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from finetune.adapter.folder import read_card
from finetune.adapter.formats import read_adapter
from finetune.adapter.formats.peft import from_peft
from finetune.adapter.low_rank import LowRankAdapter
from finetune.base_model import BaseModel
from finetune.checkpoint import checkpoint_folders, step_of
from finetune.errors import WoodshedError
from finetune.recipe import Recipe

BEST, LAST = "best", "adapter"


@dataclass(frozen=True)
class Candidate:
    """An adapter of a run: its folder, relative to the run, and the step it is of."""

    name: str
    step: int


def candidates(run: Path) -> list[Candidate]:
    """`best` first, then `adapter`, then the checkpoints, newest first."""
    found = [
        Candidate(name, int(read_card(run / name).get("step", 0)))
        for name in (BEST, LAST)
        if (run / name).is_dir()
    ]
    return found + [
        Candidate(f"checkpoints/{folder.name}", step_of(folder)) for folder in checkpoint_folders(run)
    ]


def choose(run: Path, wanted: str | None) -> Candidate:
    """The adapter `wanted`: `best`, `adapter`, a step; the first there is where nothing is said.

    Raises WoodshedError, with what there is, where it is not there.
    """
    found = candidates(run)
    if not found:
        raise WoodshedError(
            f"The run '{run}' has no adapter yet: neither best/, adapter/ nor a checkpoint. Go on with it by "
            f"`woodshed resume {run}`."
        )
    for one in found:
        if wanted is None or wanted in (one.name, str(one.step)):
            return one
    there = ", ".join(f"{one.name} (step {one.step})" for one in found)
    raise WoodshedError(f"The run '{run}' has no adapter '{wanted}'. It has: {there}.")


def read_candidate(run: Path, recipe: Recipe, candidate: Candidate, base: BaseModel) -> LowRankAdapter:
    """Its weights, as they are used: of a checkpoint with a moving average, the average."""
    folder = run / candidate.name
    if candidate.name in (BEST, LAST):
        return read_adapter(folder, base)
    try:
        average, facts = (
            folder / "average.safetensors",
            json.loads((folder / "state.json").read_text("utf-8")),
        )
        stored = load_file(average if average.is_file() else folder / "adapter.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise WoodshedError(f"The checkpoint '{folder}' is damaged: {error}") from error
    modules: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in stored.items():
        module, role = name.removesuffix(".weight").rsplit(".", 1)
        modules.setdefault(module, {})[role] = tensor
    kind = recipe.adapter
    config = {
        "use_dora": kind.kind == "dora",
        "use_rslora": kind.rank_stabilised,
        "r": kind.rank,
        "lora_alpha": kind.alpha or float(kind.rank),
    }
    parts = {name: from_peft(config, name, roles, f"'{folder}'") for name, roles in modules.items()}
    said = {"base_fingerprint": facts["base_fingerprint"], "base": recipe.base.model}
    return LowRankAdapter(parts, said)
