"""What is due after a step: the held-out loss, samples, a checkpoint; and whether the run ends there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from finetune.checkpoint import save_checkpoint
from finetune.preparation import Training
from finetune.run_state import as_used, checkpoint_of
from finetune.samples import save_samples
from finetune.tracking import Row
from finetune.validation import held_out_loss

Ending = Literal["finished", "stopped"]


@dataclass
class Log:
    """The rows of the run so far; `write` puts one on the disk."""

    rows: list[Row]
    write: Callable[[Row], None]

    def add(self, row: Row) -> None:
        self.rows.append(row)
        self.write(row)

    def held_out(self) -> str:
        """The last held-out loss, in words."""
        measured = [row["held_out_loss"] for row in self.rows if "held_out_loss" in row]
        return f"held out {measured[-1]:.4f}  " if measured else ""


def after_step(training: Training, step: int, log: Log, stopping: Callable[[], bool]) -> Ending | None:
    """Do what is due after `step`, where step 0 is the base, before anything was learned.

    Returns how the run ends here, or None where it goes on.
    """
    recipe = training.recipe
    last = step == recipe.training.steps
    if step % recipe.validation.every == 0 or last:
        with as_used(training):
            losses = held_out_loss(training.base, training.data, recipe)
        if losses:
            log.add({"step": step, **losses})
    if training.requests and (step % recipe.samples.every == 0 or last):
        with as_used(training):
            save_samples(training.base, training.data, training.requests, training.run, step)
    ending: Ending | None = "finished" if last else "stopped" if stopping() else None
    if step and (step % recipe.training.checkpoint_every == 0 or ending):
        save_checkpoint(training.run, checkpoint_of(training, step), recipe.training.keep_checkpoints)
    return ending
