"""The training loop: from a recipe to an adapter in a run folder, and on from where it stopped."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from finetune.after_step import Ending, Log, after_step, ending_after
from finetune.batches import Batch, seeded
from finetune.beginning import begin, begin_fork
from finetune.failures import check_diverged, check_finite, failures_in_words
from finetune.interrupt import Requests, save_requests, stop_requests
from finetune.loss import batch_loss
from finetune.optimizer import learning_rate, set_rate
from finetune.prefetch import prefetched
from finetune.preparation import Training
from finetune.processes import SharedGradients, agree
from finetune.progress import progress_bar, say
from finetune.rank import is_main, processes, rank
from finetune.recipe import Recipe
from finetune.run_folder import forked_recipe, located, new_run, resumed_recipe
from finetune.run_state import write_adapter
from finetune.tracking import rows_until, tracking
from finetune.watch import best_validation, validations


@dataclass(frozen=True)
class RunResult:
    """How a run ended. The held-out losses are the first and the last of its log; they, `best` and `verdict`, what they
    mean in words, are None without held-out clips. `best` is the adapter folder of the lowest."""

    run: Path
    status: Ending
    step: int
    adapter: Path
    held_out_loss_before: float | None
    held_out_loss_after: float | None
    best: Path | None
    best_step: int | None
    best_held_out_loss: float | None
    verdict: str | None
    seconds: float


def train(recipe: Recipe) -> RunResult:
    """Train a new run. Raises WoodshedError when the recipe cannot be followed, Diverged when the loss is
    lost."""
    recipe = located(recipe)
    run = new_run(recipe)
    return _run(run, recipe, lambda: begin(run, recipe))


def resume(run: Path, overrides: list[str]) -> RunResult:
    """Go on with a run from its last whole checkpoint, exactly as if it had never stopped."""
    recipe = resumed_recipe(run, overrides)
    return _run(run, recipe, lambda: begin(run, recipe))


def fork(parent: Path, name: str, overrides: list[str]) -> RunResult:
    """Train a new run `name` beside `parent` from its last checkpoint, with changes that `parent` could not take."""
    recipe = located(forked_recipe(parent, name, overrides))
    run = new_run(recipe)
    return _run(run, recipe, lambda: begin_fork(run, recipe, parent))


def _run(run: Path, recipe: Recipe, start: Callable[[], tuple[Training, int]]) -> RunResult:
    began = time.monotonic()
    with _exact_arithmetic(), failures_in_words(run, recipe), save_requests() as requests:
        training, step = start()
        since = 0 if step == training.origin else step
        rows = rows_until(run, since)
        with tracking(run, training.recipe, since) as write:
            log = Log(rows, write)
            step, ending = _loop(training, step, log, requests)
            if is_main():
                write_adapter(training, step, run / "adapter")
    if ending == "stopped":
        say(f"Stopped after step {step}. Go on with: woodshed resume {run}")
    return _result(run, ending, step, log, time.monotonic() - began)


def _result(run: Path, ending: Ending, step: int, log: Log, seconds: float) -> RunResult:
    checked, best = validations(log.rows), best_validation(log.rows)
    return RunResult(
        run=run,
        status=ending,
        step=step,
        adapter=run / "adapter",
        held_out_loss_before=checked[0]["held_out_loss"] if checked else None,
        held_out_loss_after=checked[-1]["held_out_loss"] if checked else None,
        best=run / "best" if best else None,
        best_step=best["step"] if best else None,
        best_held_out_loss=best["held_out_loss"] if best else None,
        verdict=checked[-1]["verdict"] if checked else None,
        seconds=seconds,
    )


def _loop(training: Training, step: int, log: Log, requests: Requests) -> tuple[int, Ending]:
    """From the state after `step` to where the run ends."""
    first, steps, began = step, training.recipe.training.steps, time.monotonic()
    ahead = range(first + 1, steps + 1)
    workers, device = training.recipe.training.loader_workers, training.base.device
    with (
        stop_requests(requests),
        progress_bar("Training", steps, step) as report,
        prefetched(training.batches, ahead, workers, device) as batches,
    ):
        if step == training.origin:
            report(step, "hearing the base first")
            ending = after_step(training, step, log, requests)
        else:
            report(step, "going on")
            ending = ending_after(training, step, log, requests)
        while ending is None:
            step += 1
            row = _step(training, step, next(batches), requests)
            rate = (step - first) / (time.monotonic() - began)
            log.add({"step": step, **row, "steps_per_second": round(rate, 4)})
            check_diverged(training, step, log.loss)
            report(step, f"loss {log.loss.value:.4f}  {rate:.2f} steps/s")
            ending = after_step(training, step, log, requests)
    return step, ending


def _step(training: Training, step: int, batches: list[Batch], requests: Requests) -> dict[str, float]:
    """One optimizer step. Raises Diverged when the loss is not a number; the adapter in memory is lost then."""
    recipe, accelerator, optimizer = training.recipe, training.accelerator, training.optimizer
    rate = learning_rate(recipe.optimizer, step, recipe.training.steps)
    set_rate(optimizer, rate)
    parameters, passes = training.adapter.parameters(), recipe.training.gradient_accumulation
    losses, gradients = [], SharedGradients(accelerator, parameters)
    for number, batch in enumerate(batches):
        dropout = seeded(recipe.seed, "dropout", step, rank() + number * processes())
        torch.manual_seed(dropout.initial_seed())
        loss = batch_loss(training.base, batch)
        accelerator.backward(loss / passes)
        losses.append(loss.detach())
        gradients.add_pass()
    gradients.settle()
    norm = accelerator.clip_grad_norm_(parameters, recipe.training.max_gradient_norm or math.inf)
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)
    heard = agree(accelerator, torch.stack(losses), requests)
    if training.average:
        training.average.update(step)
    mean, norm = torch.stack([heard.mean(), norm]).tolist()  # the one wait for the device
    check_finite(training, step, mean, norm)
    return {"loss": mean, "gradient_norm": norm, "learning_rate": rate}


@contextlib.contextmanager
def _exact_arithmetic() -> Iterator[None]:
    """The same numbers every time where PyTorch knows how: what lets a resumed run equal an unbroken one."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
