"""The state of a run: out of memory into checkpoints and adapter folders, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.adapter.folder import save_adapter
from finetune.adapter.formats.metadata import base_label
from finetune.batches import excerpt_seconds
from finetune.checkpoint import Checkpoint
from finetune.optimizer import optimizer_state, restore_optimizer
from finetune.preparation import Training
from finetune.provenance.ancestry import read_beginning
from finetune.provenance.claims import training_claims
from finetune.provenance.place import HEADER
from finetune.provenance.statement import write_statement
from finetune.provenance.training_set import write_record


def checkpoint_of(training: Training, step: int) -> Checkpoint:
    """Everything that the steps after `step` depend on besides recipe and dataset."""
    tensors, scalars = optimizer_state(training.optimizer.optimizer)
    average = training.average.state() if training.average else {}
    facts = {**training.facts, "optimizer": scalars}
    return Checkpoint(step, training.adapter.state(), tensors, facts, average)


def load(training: Training, checkpoint: Checkpoint) -> None:
    """Set the adapter, the optimizer and the average to what `checkpoint` holds."""
    training.adapter.load_state(checkpoint.adapter)
    if training.average:
        training.average.load_state(checkpoint.average or checkpoint.adapter)
    restore_optimizer(training.optimizer.optimizer, checkpoint.optimizer, checkpoint.facts["optimizer"])


@contextlib.contextmanager
def as_used(training: Training) -> Iterator[None]:
    """The adapter as it will be used: its average where there is one, and without its dropout."""
    training.adapter.train(False)
    try:
        with training.average.in_place() if training.average else contextlib.nullcontext():
            yield
    finally:
        training.adapter.train(True)


def write_adapter(training: Training, step: int, folder: Path) -> None:
    """Write the PEFT folder of the adapter as it is after `step`, with a statement of what it was made from, and beside
    it in the run what that statement is about."""
    write_record(training.run, training.training_set)
    with as_used(training):
        save_adapter(training.adapter, folder, _card(training, step), write_statement)


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
        HEADER: training_claims(
            recipe,
            training.facts["recipe_sha256"],
            training.base,
            training.training_set,
            read_beginning(training.run),
            training.facts["versions"],
        ),
        **({"parent": asdict(training.parent)} if training.parent else {}),
    }
