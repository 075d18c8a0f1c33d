"""Woodshed in the contest of `reference_speed`: the base, adapter, loss and optimizer of `woodshed train`."""

from __future__ import annotations

import json
import os

import torch

from finetune.adapter import AdapterSettings, attach
from finetune.base_model import Conditions, PromptEmbedding, load_base
from finetune.base_model.stability.keys import stability_module
from finetune.base_model.storage import load_frozen
from finetune.batches import Batch
from finetune.bench.training import spare_work
from finetune.loss import batch_loss
from finetune.optimizer import make_optimizer
from finetune.recipe import OptimizerGroup, TrainingGroup
from tests.tools.reference_case import Contestant, Task, make_case

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "int8": "int8", "nf4": "nf4"}


def set_up() -> None:
    """As the trainer does: the same numbers every time, where PyTorch knows how."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)


def import_all() -> None:
    """Have every library in memory that loading a base imports on its way."""
    load_base("starter")


def prepare(task: Task, device: torch.device) -> Contestant:
    base = load_frozen(task.folder, PRECISIONS[task.base], device)
    base.release_encoders()
    base.place_rest(device)
    settings = AdapterSettings(task.adapter, task.rank, float(task.rank), task.targets)
    adapter = attach(base, settings)
    task.names_file.write_text(json.dumps(_adapted(adapter.named_parameters())))
    adapter.train(True)
    spare_work(base, task.checkpointing, task.compile)
    case = make_case(task)
    kept_mask = torch.zeros(1, 1, task.frames)  # everything is to be made
    prompts = [PromptEmbedding(case.tokens.to(device))]
    conditions = Conditions(prompts, torch.tensor([case.seconds]), None, kept_mask, case.latents * kept_mask)
    batch = Batch(case.latents, case.noise, case.t, conditions)
    return Contestant(
        loss=lambda: batch_loss(base, batch),
        parameters=adapter.parameters(),
        optimizer=make_optimizer(OptimizerGroup(name="adamw"), adapter.named_parameters()),
        longest_gradient=TrainingGroup().max_gradient_norm,
        keeps_gradients=True,
    )


def _adapted(parameters: dict[str, torch.nn.Parameter]) -> list[str]:
    """The layers that carry an adapter, as Stability names them."""
    return sorted({stability_module(name.split(".lora_")[0]) for name in parameters})
