"""What the log of a run says: which step was best, whether it still learns, whether it is lost.

Everything here is a function of the log's rows alone, so that a resumed run decides as the unbroken one would.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from finetune.tracking import Row

RECENT = 5  # validations that a trend is told from
STILL = 0.005  # of the held-out loss: a smaller change over these is none
SMOOTHING_STEPS = 50  # the loss of single steps jumps with the noise level that was drawn
NEAR, FAR, LONG_STEPS = 1.2, 2.0, 100  # times the lowest smoothed loss; divergence is FAR for LONG_STEPS

Direction = Literal["falls", "stands still", "rises"]


def validations(rows: Iterable[Row]) -> list[Row]:
    """The rows with a held-out loss; the first is of the state that training began with."""
    return [row for row in rows if "held_out_loss" in row]


def best_validation(rows: Iterable[Row]) -> Row | None:
    """The row of the lowest held-out loss after the beginning, the earliest of equals; None before there is one."""
    return min(validations(rows)[1:], key=lambda row: row["held_out_loss"], default=None)


def out_of_patience(rows: Iterable[Row], patience: int | None) -> bool:
    """Whether the last `patience` validations were no better than the best one before them."""
    losses = [row["held_out_loss"] for row in validations(rows)[1:]]
    return (
        patience is not None and len(losses) > 0 and len(losses) - 1 - losses.index(min(losses)) >= patience
    )


def verdict(rows: Iterable[Row]) -> str:
    """Held-out loss, training set's loss, their gap, its trend, and what to make of it, in words; '' without any."""
    checked = validations(rows)
    if not checked:
        return ""
    held_out, trained = ([row[key] for row in checked] for key in ("held_out_loss", "training_set_loss"))
    gaps = [one - other for one, other in zip(held_out, trained, strict=True)]
    now, gap = (held_out[-1], trained[-1]), f"{gaps[-1]:+.4f}"
    if len(checked) == 1:
        return f"Held-out loss {now[0]:.4f}, training set's {now[1]:.4f}, gap {gap}: before training."
    since = [100 * (losses[-1] / losses[0] - 1) for losses in (held_out, trained)]
    scale = held_out[0]
    trend = {"falls": "closes", "stands still": "is steady", "rises": "grows"}[direction(gaps, scale)]
    return (
        f"Held-out loss {now[0]:.4f} ({since[0]:+.1f} %), training set's {now[1]:.4f} ({since[1]:+.1f} %). The gap, "
        f"{gap} and {gaps[0]:+.4f} at the beginning, {trend}. "
        + _meaning(checked, direction(held_out, scale), direction(trained, scale))
    )


def direction(values: Sequence[float], scale: float) -> Direction:
    """Where the straight line through the last RECENT values goes, relative to `scale`."""
    recent = np.asarray(values[-RECENT:], dtype=float)
    change = np.polyfit(np.arange(len(recent)), recent, 1)[0] * (len(recent) - 1) / scale
    return "falls" if change < -STILL else "rises" if change > STILL else "stands still"


def _meaning(checked: Sequence[Row], held_out: Direction, trained: Direction) -> str:
    best = best_validation(checked)
    assert best is not None
    best_is = f"the best was step {best['step']}"
    if held_out == "rises" and trained == "rises":
        return f"Both rise: the learning rate is too high; {best_is}."
    if best["held_out_loss"] >= checked[0]["held_out_loss"]:
        return "Not better than at the beginning so far."
    if held_out == "falls":
        return "It still learns."
    if held_out == "rises":
        return f"The held-out loss rises: it learns its training clips by heart; {best_is}."
    if trained == "falls":
        return (
            f"The held-out loss stands still while the training set's falls: the best is reached; {best_is}."
        )
    return f"Nothing moves any more; {best_is}."


@dataclass
class SmoothedLoss:
    """The training loss over about the last 50 steps, and whether it went away for good.

    `near_step` is the last step at which it was near its lowest: a checkpoint of that step or before is good.
    """

    value: float = 0.0
    lowest: float = float("inf")
    near_step: int = 0
    steps: int = 0
    far_steps: int = 0

    def add(self, step: int, loss: float) -> None:
        """Take in the loss of `step`; the first ones weigh alike, so that none counts for more than its share."""
        self.steps += 1
        self.value += (loss - self.value) / min(self.steps, SMOOTHING_STEPS)
        if self.steps >= SMOOTHING_STEPS:
            self.lowest = min(self.lowest, self.value)
        self.far_steps = self.far_steps + 1 if self.value > FAR * self.lowest else 0
        if self.value <= NEAR * self.lowest:
            self.near_step = step

    @property
    def diverged(self) -> bool:
        return self.far_steps >= LONG_STEPS


def smoothed_loss(rows: Iterable[Row]) -> SmoothedLoss:
    """The smoothed loss after all of `rows`."""
    smoothed = SmoothedLoss()
    for row in rows:
        if "loss" in row:
            smoothed.add(row["step"], row["loss"])
    return smoothed
