"""The training loop: from a recipe to an adapter in a run folder, and on from where it stopped."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from finetune.adapter import Adapter
from finetune.adapter.folder import save_adapter
from finetune.adapter.formats.metadata import base_label
from finetune.base_model import BaseModel
from finetune.batches import Batch, excerpt_seconds, seeded
from finetune.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint
from finetune.errors import WoodshedError
from finetune.interrupt import stop_requests
from finetune.objective import add_noise, masked_loss
from finetune.optimizer import learning_rate, optimizer_state, restore_optimizer
from finetune.preparation import Training, prepare
from finetune.progress import progress_bar, say
from finetune.recipe import Recipe
from finetune.run_folder import located, new_run, resumed_recipe, write_recipe
from finetune.samples import save_samples
from finetune.tracking import read_log, tracking
from finetune.validation import held_out_loss


@dataclass(frozen=True)
class RunResult:
    """How a run ended. The held-out losses are the first and the last of its log, None without held-out clips."""

    run: Path
    status: Literal["finished", "stopped"]
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
        step = _restore(training)
        write_recipe(run, recipe)
        with tracking(run, recipe, step) as log:
            step, status = _loop(training, step, log)
    save_adapter(training.adapter, run / "adapter", _card(training, step))
    losses = [row["held_out_loss"] for row in read_log(run) if "held_out_loss" in row]
    if status == "stopped":
        say(f"Stopped after step {step}. Go on with: woodshed resume {run}")
    return RunResult(
        run=run,
        status=status,
        step=step,
        adapter=run / "adapter",
        held_out_loss_before=losses[0] if losses else None,
        held_out_loss_after=losses[-1] if losses else None,
        seconds=time.monotonic() - began,
    )


def _loop(
    training: Training, step: int, log: Callable[[dict[str, Any]], None]
) -> tuple[int, Literal["finished", "stopped"]]:
    """From the state after `step` to the last step, or to where someone stopped it."""
    recipe, steps = training.recipe, training.recipe.training.steps
    began, first, smooth, held_out = time.monotonic(), step, math.nan, ""
    with stop_requests() as stopping, progress_bar("Training", steps, step) as report:
        report(step, "hearing the base first" if step == 0 else "going on")
        while True:
            # What is due after a step; step 0 is the base, before anything was learned.
            fresh = step > first or step == 0
            ends = step == steps
            if fresh and (step % recipe.validation.every == 0 or ends):
                with _as_used(training.adapter):
                    losses = held_out_loss(training.base, training.data, recipe)
                if losses:
                    log({"step": step, **losses})
                    held_out = f"held out {losses['held_out_loss']:.4f}  "
            if fresh and training.requests and (step % recipe.samples.every == 0 or ends):
                with _as_used(training.adapter):
                    save_samples(training.base, training.data, training.requests, training.run, step)
            stop = stopping() and not ends
            if step > first and (step % recipe.training.checkpoint_every == 0 or ends or stop):
                save_checkpoint(training.run, _checkpoint(training, step), recipe.training.keep_checkpoints)
            if ends or stop:
                return step, "finished" if ends else "stopped"

            step += 1
            row = _step(training, step)
            rate = (step - first) / (time.monotonic() - began)
            log({"step": step, **row, "steps_per_second": round(rate, 4)})
            smooth = row["loss"] if math.isnan(smooth) else 0.95 * smooth + 0.05 * row["loss"]
            report(step, f"loss {smooth:.4f}  {held_out}{rate:.2f} steps/s")


def _step(training: Training, step: int) -> dict[str, float]:
    """One optimizer step; raises WoodshedError, with the adapter as it was before, when the loss is not a number."""
    recipe, accelerator, optimizer = training.recipe, training.accelerator, training.optimizer
    rate = learning_rate(recipe.optimizer, step, recipe.training.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
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
                mean = float(torch.stack(losses).mean())
                _check_finite(training, step, mean, float(norm))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return {"loss": mean, "gradient_norm": float(norm), "learning_rate": rate}


def batch_loss(base: BaseModel, batch: Batch) -> torch.Tensor:
    """The objective on one batch; gradients reach the adapter."""
    device, dtype = base.device, base.transformer.proj_in.weight.dtype
    noisy = add_noise(batch.latents, batch.noise, batch.t).to(device, dtype)
    predicted = base.velocity(noisy, batch.t.to(device), batch.conditions)
    kept_mask = batch.conditions.kept_mask
    target = (batch.noise - batch.latents).to(device)
    return masked_loss(predicted, target, None if kept_mask is None else kept_mask.to(device))


def _restore(training: Training) -> int:
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
    training.adapter.load_state(checkpoint.adapter)
    restore_optimizer(training.optimizer.optimizer, checkpoint.optimizer, was["optimizer"])
    return checkpoint.step


def _checkpoint(training: Training, step: int) -> Checkpoint:
    tensors, scalars = optimizer_state(training.optimizer.optimizer)
    return Checkpoint(step, training.adapter.state(), tensors, {**training.facts, "optimizer": scalars})


def _check_finite(training: Training, step: int, loss: float, norm: float) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        return
    raise WoodshedError(
        f"The loss of step {step} is not a number any more: training diverged. Everything up to the last checkpoint "
        f"in '{training.run / 'checkpoints'}' is kept. Train again under another name with a smaller "
        f"optimizer.learning_rate (it was {training.recipe.optimizer.learning_rate:g})."
    )


@contextlib.contextmanager
def _as_used(adapter: Adapter) -> Iterator[None]:
    """The adapter as it will be used: without its dropout."""
    adapter.train(False)
    try:
        yield
    finally:
        adapter.train(True)


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
