"""The state of a run: out of memory into checkpoints and adapter folders, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.adapter.folder import save_adapter
from finetune.adapter.formats.metadata import base_label
from finetune.batches import excerpt_seconds
from finetune.checkpoint import Checkpoint, latest_checkpoint
from finetune.errors import WoodshedError
from finetune.optimizer import optimizer_state, restore_optimizer
from finetune.preparation import Training
from finetune.progress import say


def checkpoint_of(training: Training, step: int) -> Checkpoint:
    """Everything that the steps after `step` depend on besides recipe and dataset."""
    tensors, scalars = optimizer_state(training.optimizer.optimizer)
    return Checkpoint(step, training.adapter.state(), tensors, {**training.facts, "optimizer": scalars})


def restore(training: Training) -> int:
    """Take the run's last checkpoint back into memory, if it has one; returns the step it was saved after."""
    checkpoint = latest_checkpoint(training.run)
    if checkpoint is None:
        return 0
    was, now = checkpoint.facts, training.facts
    for fact, thing in (("base_fingerprint", "base model"), ("dataset_sha256", "dataset")):
        if was[fact] != now[fact]:
            raise WoodshedError(
                f"The {thing} is not the one this run began with, so it cannot go on as it began. "
                "Bring it back, or train a new run under another name."
            )
    if checkpoint.step > training.recipe.training.steps:
        raise WoodshedError(
            f"training.steps is {training.recipe.training.steps} and this run has done {checkpoint.step} already."
        )
    for fact in ("device", "threads", "versions"):
        if was[fact] != now[fact]:
            say(f"{fact}: began with {was[fact]}, now {now[fact]}; the result may differ in the last digits.")
    load(training, checkpoint)
    return checkpoint.step


def load(training: Training, checkpoint: Checkpoint) -> None:
    """Set the adapter and the optimizer to what `checkpoint` holds."""
    training.adapter.load_state(checkpoint.adapter)
    restore_optimizer(training.optimizer.optimizer, checkpoint.optimizer, checkpoint.facts["optimizer"])


@contextlib.contextmanager
def as_used(training: Training) -> Iterator[None]:
    """The adapter as it will be used: without its dropout."""
    training.adapter.train(False)
    try:
        yield
    finally:
        training.adapter.train(True)


def write_adapter(training: Training, step: int, folder: Path) -> None:
    """Write the PEFT folder of the adapter as it is after `step`."""
    with as_used(training):
        save_adapter(training.adapter, folder, _card(training, step))


def _card(training: Training, step: int) -> dict[str, Any]:
    """What the adapter says of itself wherever it goes: names and hashes, no path of this machine."""
    recipe = training.recipe
    trained = [clip.clip for clip in training.data.split("train")]
    return {
        "base": base_label(recipe.base.model),
        "base_fingerprint": training.base.fingerprint,
        "name": recipe.name,
        "step": step,
        "excerpt_seconds": excerpt_seconds(trained, recipe.data.length),
        "dataset_sha256": training.facts["dataset_sha256"],
        "recipe_sha256": training.facts["recipe_sha256"],
    }
