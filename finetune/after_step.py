"""What is due after a step: held-out loss, samples, best adapter, checkpoint; and whether the run ends there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from finetune.checkpoint import checkpoint_folders, save_checkpoint, step_of
from finetune.files import sync
from finetune.interrupt import Requests
from finetune.preparation import Training
from finetune.processes import main_only
from finetune.progress import say
from finetune.rank import is_main
from finetune.run_state import as_used, checkpoint_of, write_adapter
from finetune.samples import save_samples
from finetune.tracking import Row
from finetune.validation import validation_losses
from finetune.watch import SmoothedLoss, best_validation, out_of_patience, smoothed_loss, verdict

Ending = Literal["finished", "stopped", "stopped early"]


@dataclass
class Log:
    """The rows of the run so far, and what follows from them; `write` puts a row on the disk."""

    rows: list[Row]
    write: Callable[[Row], None]
    loss: SmoothedLoss = field(init=False)

    def __post_init__(self) -> None:
        self.loss = smoothed_loss(self.rows)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.write(row)
        if "loss" in row:
            self.loss.add(row["step"], row["loss"])


def ending_after(training: Training, step: int, log: Log, requests: Requests) -> Ending | None:
    """How the run ends after `step`, or None where it goes on."""
    if step == training.recipe.training.steps:
        return "finished"
    if out_of_patience(log.rows, training.recipe.validation.patience):
        return "stopped early"
    return "stopped" if requests.stop else None


def after_step(training: Training, step: int, log: Log, requests: Requests) -> Ending | None:
    """Do what is due after `step`, where the first is of the state that the run began with.

    Returns how the run ends here, or None where it goes on. The checkpoint comes last: whatever was due before it is
    done again when it is missing.
    """
    recipe = training.recipe
    ending = ending_after(training, step, log, requests)
    better = False
    if step % recipe.validation.every == 0 or step == training.origin or ending == "finished":
        better = _validate(training, step, log)
        ending = ending_after(training, step, log, requests)
    over = ending in ("finished", "stopped early")
    if training.requests and (step % recipe.samples.every == 0 or step == training.origin or over):
        main_only(training.base, lambda: _sample(training, step))
    if step == training.origin:
        return ending
    if better:
        _write(lambda: write_adapter(training, step, training.run / "best"))
    if better or ending or requests.save or step % recipe.training.checkpoint_every == 0:
        _write(lambda: _save(training, step, log))
        if requests.save:
            say(f"Saved after step {step}.")
    return ending


def _write(work: Callable[[], object]) -> None:
    """Of several processes one writes; the others wait for it at the next step's gradients."""
    if is_main():
        work()


def _sample(training: Training, step: int) -> None:
    with as_used(training):
        save_samples(training.base, training.data, training.requests, training.run, step)


def _validate(training: Training, step: int, log: Log) -> bool:
    """Log the held-out loss and what it means; returns whether it is the best so far."""
    with as_used(training):
        losses = validation_losses(training.base, training.data, training.recipe)
    if not losses:
        return False
    row = {"step": step, **losses}
    row["verdict"] = verdict([*log.rows, row])
    say(f"Step {step}: {row['verdict']}")
    log.add(row)
    best = best_validation(log.rows)
    return best is not None and best["step"] == step


def _save(training: Training, step: int, log: Log) -> None:
    """Write a checkpoint. The best one, and the last one before the loss went away, outlive the newest."""
    sync(training.run / "log.jsonl")  # what it goes on from is on the disk before it is
    best = best_validation(log.rows)
    near = [step_of(folder) for folder in checkpoint_folders(training.run)]
    good = max((one for one in near if one <= log.loss.near_step), default=None)
    spared = {best["step"] if best else None, good}
    save_checkpoint(
        training.run, checkpoint_of(training, step), training.recipe.training.keep_checkpoints, spared
    )
