"""The training loop: from a recipe to an adapter in a run folder, and on from where it stopped."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from finetune.after_step import Ending, Log, after_step
from finetune.base_model import BaseModel
from finetune.batches import Batch, seeded
from finetune.errors import WoodshedError
from finetune.interrupt import stop_requests
from finetune.objective import add_noise, masked_loss
from finetune.optimizer import learning_rate, set_rate
from finetune.preparation import Training, prepare
from finetune.progress import progress_bar, say
from finetune.recipe import Recipe
from finetune.run_folder import located, new_run, resumed_recipe, write_recipe
from finetune.run_state import restore, write_adapter
from finetune.tracking import read_log, tracking


@dataclass(frozen=True)
class RunResult:
    """How a run ended. The held-out losses are the first and the last of its log, None without held-out clips."""

    run: Path
    status: Ending
    step: int
    adapter: Path
    held_out_loss_before: float | None
    held_out_loss_after: float | None
    seconds: float


def train(recipe: Recipe) -> RunResult:
    """Train a new run. Raises WoodshedError when the recipe cannot be followed, or the loss is lost to NaN."""
    recipe = located(recipe)
    return _run(new_run(recipe), recipe)


def resume(run: Path, overrides: list[str]) -> RunResult:
    """Go on with a run from its last whole checkpoint, exactly as if it had never stopped."""
    return _run(run, located(resumed_recipe(run, overrides)))


def _run(run: Path, recipe: Recipe) -> RunResult:
    began = time.monotonic()
    with _exact_arithmetic():
        training = prepare(run, recipe)
        step = restore(training)
        write_recipe(run, recipe)
        with tracking(run, recipe, step) as write:
            step, ending = _loop(training, step, Log(read_log(run), write))
        write_adapter(training, step, run / "adapter")
    losses = [row["held_out_loss"] for row in read_log(run) if "held_out_loss" in row]
    if ending == "stopped":
        say(f"Stopped after step {step}. Go on with: woodshed resume {run}")
    return RunResult(
        run=run,
        status=ending,
        step=step,
        adapter=run / "adapter",
        held_out_loss_before=losses[0] if losses else None,
        held_out_loss_after=losses[-1] if losses else None,
        seconds=time.monotonic() - began,
    )


def _loop(training: Training, step: int, log: Log) -> tuple[int, Ending]:
    """From the state after `step` to where the run ends."""
    first, steps, began, smooth = step, training.recipe.training.steps, time.monotonic(), math.nan
    ending: Ending | None = "finished" if step == steps else None
    with stop_requests() as stopping, progress_bar("Training", steps, step) as report:
        report(step, "hearing the base first" if step == 0 else "going on")
        if step == 0:
            ending = after_step(training, step, log, stopping)
        while ending is None:
            step += 1
            row = _step(training, step)
            rate = (step - first) / (time.monotonic() - began)
            log.add({"step": step, **row, "steps_per_second": round(rate, 4)})
            smooth = row["loss"] if math.isnan(smooth) else 0.95 * smooth + 0.05 * row["loss"]
            report(step, f"loss {smooth:.4f}  {log.held_out()}{rate:.2f} steps/s")
            ending = after_step(training, step, log, stopping)
    return step, ending


def _step(training: Training, step: int) -> dict[str, float]:
    """One optimizer step. Raises WoodshedError when the loss is not a number; the adapter in memory is lost then."""
    recipe, accelerator, optimizer = training.recipe, training.accelerator, training.optimizer
    rate = learning_rate(recipe.optimizer, step, recipe.training.steps)
    set_rate(optimizer, rate)
    torch.manual_seed(seeded(recipe.seed, "dropout", step).initial_seed())
    losses = []
    for batch in training.batches.of_step(step):
        with accelerator.accumulate():
            loss = batch_loss(training.base, batch)
            accelerator.backward(loss)
            losses.append(loss.detach())
            if accelerator.sync_gradients:
                parameters = training.adapter.parameters()
                norm = accelerator.clip_grad_norm_(parameters, recipe.training.max_gradient_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    mean, norm = torch.stack([torch.stack(losses).mean(), norm]).tolist()  # the one wait for the device
    _check_finite(training, step, mean, norm)
    return {"loss": mean, "gradient_norm": norm, "learning_rate": rate}


def batch_loss(base: BaseModel, batch: Batch) -> torch.Tensor:
    """The objective on one batch; gradients reach the adapter."""
    device, dtype = base.device, base.dtype
    noisy = add_noise(batch.latents, batch.noise, batch.t).to(device, dtype)
    predicted = base.velocity(noisy, batch.t.to(device), batch.conditions)
    kept_mask = batch.conditions.kept_mask
    target = (batch.noise - batch.latents).to(device)
    return masked_loss(predicted, target, None if kept_mask is None else kept_mask.to(device))


def _check_finite(training: Training, step: int, loss: float, norm: float) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        return
    raise WoodshedError(
        f"The loss of step {step} is not a number any more: training diverged. Everything up to the last checkpoint "
        f"in '{training.run / 'checkpoints'}' is kept. Train again under another name with a smaller "
        f"optimizer.learning_rate (it was {training.recipe.optimizer.learning_rate:g})."
    )


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
