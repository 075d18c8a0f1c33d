"""How a run fails while it trains, in words that say what is kept and how to go on."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError

from finetune.advice import as_words, smaller
from finetune.errors import WoodshedError
from finetune.preparation import Training
from finetune.rank import processes
from finetune.recipe import Recipe
from finetune.watch import FAR, LONG_STEPS, SmoothedLoss

ADVICE = 3  # of the changes that need less memory are named
DISK_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Diverged(WoodshedError):
    """The loss went away and does not come back; another recipe may well train."""


def check_finite(training: Training, step: int, loss: float, norm: float) -> None:
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise Diverged(
            f"The loss of step {step} is not a number any more: training diverged. {_cure(training)}"
        )


def check_diverged(training: Training, step: int, loss: SmoothedLoss) -> None:
    if loss.diverged:
        raise Diverged(
            f"Training diverged: the loss of step {step}, smoothed, is {loss.value:.4f}. For {LONG_STEPS} steps it was "
            f"more than {FAR:g} times its lowest, {loss.lowest:.4f}, which it was near until step {loss.near_step}. "
            + _cure(training)
        )


def _cure(training: Training) -> str:
    rate = training.recipe.optimizer.learning_rate
    best = training.run / "best"
    kept = f" The best adapter so far is in '{best}'." if best.is_dir() else ""
    return (
        f"The checkpoints before are kept.{kept} Go on from there with a smaller rate (it was {rate:g}): woodshed "
        f"resume {training.run} optimizer.learning_rate={rate / 4:g} --fork {training.recipe.name}-2"
    )


@contextlib.contextmanager
def failures_in_words(run: Path, recipe: Recipe) -> Iterator[None]:
    """Too little memory, a disk that fails and blocks that do not compile are sentences."""
    with memory_failures_in_words(run, recipe), disk_failures_in_words(run), compile_failures_in_words():
        yield


@contextlib.contextmanager
def compile_failures_in_words() -> Iterator[None]:
    """What the compiler cannot do is a sentence; its own words follow."""
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        raise WoodshedError(
            f"training.compile: PyTorch could not compile the base on this machine; train with training.compile=false. "
            f"It said: {error}"
        ) from error


@contextlib.contextmanager
def memory_failures_in_words(run: Path, recipe: Recipe) -> Iterator[None]:
    """Too little memory is a sentence that says what needs less, and what may be changed in the run as it is."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and "allocate memory" not in str(error):
            raise
        gpu = torch.cuda.is_available() and recipe.training.device != "cpu"
        advice = [f"{as_words(changes)} ({cost})" for cost, changes in smaller(recipe, gpu)][:ADVICE]
        saved = next((run / "checkpoints").glob("step-*"), None) if run.is_dir() else None
        again = f"What was saved goes on with `woodshed resume {run}`; " if saved else ""
        free = "training.gradient_checkpointing" + (" and base.shard" if processes() > 1 else "")
        raise WoodshedError(
            f"There is not enough memory{' on the GPU' if gpu else ''}. {again}{free} may be changed there, other keys "
            f"with --fork. What needs less: {'; '.join(advice) or 'a smaller base'}. "
            "`woodshed plan RECIPE --fit 8GB` measures what fits."
        ) from error


@contextlib.contextmanager
def disk_failures_in_words(run: Path) -> Iterator[None]:
    """A disk that is full, broken or read-only is a sentence; nothing half-written is left."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        numbers = [getattr(error, "errno", None), *map(int, re.findall(r"os error (\d+)", str(error)))]
        number = next((number for number in numbers if number in DISK_FAILURES), None)
        if number is None:
            raise
        again = f"woodshed resume {run}" if (run / "recipe.yaml").is_file() else "the same command"
        raise WoodshedError(
            f"The disk of '{run}' failed ({os.strerror(number)}). Everything up to the last checkpoint is kept. Make "
            f"room, then go on with: {again}"
        ) from error
