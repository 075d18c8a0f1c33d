"""Where a run begins: with nothing, at its own last checkpoint, or where another run was."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from finetune.adapter import read_card
from finetune.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint
from finetune.errors import WoodshedError
from finetune.files import remove_leftovers, write_folder
from finetune.licences import write_acceptances
from finetune.preparation import Training, prepare
from finetune.progress import say
from finetune.provenance.ancestry import record_beginning
from finetune.provenance.training_set import LEAVES, changed_rows, read_record
from finetune.rank import is_main
from finetune.recipe import Recipe
from finetune.run_folder import Parent, read_parent, recipe_hash, recipe_of, write_recipe
from finetune.run_state import checkpoint_of, load, write_adapter
from finetune.tracking import read_log
from finetune.watch import best_validation, smoothed_loss


def begin(run: Path, recipe: Recipe) -> tuple[Training, int]:
    """The run with everything in memory, and the step that it is after: that of its last checkpoint, or 0."""
    remove_leftovers(run / "samples")
    checkpoint, parent = latest_checkpoint(run), read_parent(run)
    if checkpoint is None:
        if parent is not None:
            raise WoodshedError(f"The run '{run}' lost the checkpoint of '{parent.name}' that it began with.")
        training = prepare(run, recipe)
        if is_main():
            _write_recipe(run, training)
            if recipe.adapter.init_from:
                record_beginning(run, Path(recipe.adapter.init_from))
        return training, 0
    _check_steps(recipe, checkpoint)
    training = prepare(run, recipe, parent, begins=False)
    _check_same(training, checkpoint)
    _check_record(training)
    if is_main():
        _write_recipe(run, training)
        _restore_best(training, checkpoint.step)
    load(training, checkpoint)
    return training, checkpoint.step


def begin_fork(run: Path, recipe: Recipe, parent: Path) -> tuple[Training, int]:
    """The new run `run` with everything in memory as `parent` had it at its last checkpoint, and that step.

    Of a parent that diverged it is the last checkpoint before. Raises WoodshedError when there is none, when it is of
    another base, or when the adapter has another shape.
    """
    loss = smoothed_loss(read_log(parent))
    checkpoint = latest_checkpoint(parent, loss.near_step) if loss.diverged else latest_checkpoint(parent)
    if checkpoint is None:
        raise WoodshedError(f"The run '{parent}' has no checkpoint to go on from.")
    _check_steps(recipe, checkpoint)
    before, grandparent = recipe_of(parent), read_parent(parent)
    told = Parent(
        before.name, checkpoint.step, recipe_hash(before), asdict(grandparent) if grandparent else None
    )
    training = prepare(run, recipe, told, begins=False)
    if checkpoint.facts["base_fingerprint"] != training.facts["base_fingerprint"]:
        raise WoodshedError(
            "The base model is not the one that the run began with, and its adapter fits no other."
        )
    if before.optimizer.name != recipe.optimizer.name:
        say(
            f"{recipe.optimizer.name} begins anew: it cannot go on with what {before.optimizer.name} remembers."
        )
        checkpoint = replace(checkpoint, optimizer={}, facts={**checkpoint.facts, "optimizer": {}})
    load(training, checkpoint)
    if is_main():
        _write_fork(run, training, checkpoint.step, parent)
    return training, checkpoint.step


def _write_fork(run: Path, training: Training, step: int, source: Path) -> None:
    assert training.parent is not None
    with write_folder(run) as folder:
        record_beginning(folder, source)
        save_checkpoint(folder, checkpoint_of(training, step), keep=1)
        parent = json.dumps(asdict(training.parent), indent=1)
        (folder / "parent.json").write_text(parent + "\n", encoding="utf-8")
        _write_recipe(folder, training)


def _write_recipe(run: Path, training: Training) -> None:
    """The recipe, and beside it who accepted the licence of its base."""
    write_recipe(run, training.recipe)
    if training.base.licence is not None:
        write_acceptances(run, training.base.licence.parent)


def _check_steps(recipe: Recipe, checkpoint: Checkpoint) -> None:
    if checkpoint.step > recipe.training.steps:
        raise WoodshedError(
            f"training.steps is {recipe.training.steps} and this run has done {checkpoint.step} already."
        )


def _check_same(training: Training, checkpoint: Checkpoint) -> None:
    """Raises WoodshedError when base or dataset are others than those the run began with."""
    was, now = checkpoint.facts, training.facts
    for fact, thing in (("base_fingerprint", "base model"), ("dataset_sha256", "dataset")):
        if was[fact] != now[fact]:
            raise WoodshedError(
                f"The {thing} is not the one this run began with, so it cannot go on as it began. Bring it back, "
                "go on as a new run with --fork NAME (another dataset alone), or train one."
            )
    for fact in ("device", "threads", "versions"):
        if was[fact] != now[fact]:
            say(f"{fact}: began with {was[fact]}, now {now[fact]}; the result may differ in the last digits.")


def _check_record(training: Training) -> None:
    """Raises WoodshedError when the dataset says something else of rights or recordings than it did."""
    if (training.run / LEAVES).is_file():
        changed = changed_rows(read_record(training.run), training.training_set)
        if changed:
            raise WoodshedError(
                f"What the dataset says of {len(changed)} clips ({', '.join(changed[:3])} …), of their recordings or "
                "rights, is not what it said when this run began, so it cannot go on as it began. Bring it back, or go "
                "on as a new run with --fork NAME."
            )


def _restore_best(training: Training, step: int) -> None:
    """Have best/ hold what was best up to `step`, where a crash left an earlier or a later one."""
    best = best_validation(row for row in read_log(training.run) if row["step"] <= step)
    folder = training.run / "best"
    if best is None or (folder.is_dir() and read_card(folder).get("step") == best["step"]):
        return
    checkpoint = latest_checkpoint(training.run, best["step"])
    if checkpoint is not None and checkpoint.step == best["step"]:
        load(training, checkpoint)
        write_adapter(training, checkpoint.step, folder)
