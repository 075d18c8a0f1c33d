"""What is read off a log: the best step, patience, a verdict in words, divergence without false alarms."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.watch import (
    FAR,
    LONG_STEPS,
    SMOOTHING_STEPS,
    best_validation,
    direction,
    out_of_patience,
    smoothed_loss,
    verdict,
)

LOSSES = st.lists(st.floats(0.1, 10), min_size=1, max_size=20)


def log(held_out: list[float], trained: list[float] | None = None) -> list[dict[str, object]]:
    """A log with a validation every 100 steps, and the rows of steps between."""
    rows: list[dict[str, object]] = []
    for number, (one, other) in enumerate(zip(held_out, trained or held_out, strict=True)):
        rows += [{"step": 100 * number - 50, "loss": 1.0}] if number else []
        rows += [{"step": 100 * number, "held_out_loss": one, "training_set_loss": other}]
    return rows


@given(LOSSES)
def test_the_best_is_the_earliest_of_the_lowest_after_the_beginning(losses: list[float]) -> None:
    best = best_validation(log(losses))
    if len(losses) == 1:
        assert best is None
    else:
        assert best is not None and best["step"] == 100 * (1 + losses[1:].index(min(losses[1:])))


@pytest.mark.parametrize(
    ("losses", "patience", "over"),
    [
        ([1.0, 0.9, 0.8], 1, False),
        ([1.0, 0.9, 0.9], 1, True),  # as good is not better
        ([1.0, 0.8, 0.9, 0.9], 2, True),
        ([1.0, 0.8, 0.9, 0.7], 1, False),
        ([1.0, 2.0, 1.9, 1.8], 1, False),  # worse than the base, but it gets better
        ([1.0, 0.8, 0.9, 0.9], None, False),
        ([1.0], 1, False),
        ([], 1, False),
    ],
)
def test_patience_counts_validations_without_a_new_best(
    losses: list[float], patience: int | None, over: bool
) -> None:
    assert out_of_patience(log(losses), patience) is over


@given(LOSSES, st.integers(1, 5))
def test_patience_ends_where_the_best_has_stood_that_long(losses: list[float], patience: int) -> None:
    rows = log(losses)
    best = best_validation(rows)
    expected = best is not None and 100 * (len(losses) - 1) - best["step"] >= 100 * patience
    assert out_of_patience(rows, patience) is expected


@pytest.mark.parametrize(
    ("held_out", "trained", "words"),
    [
        ([1.0], [0.9], "gap +0.1000: before training."),
        ([1.0, 0.9, 0.8], [0.9, 0.8, 0.7], r"is steady. It still learns."),
        ([1.0, 0.9, 0.8], [0.9, 0.7, 0.5], r"grows. It still learns."),
        ([1.0, 0.9, 0.95, 1.05], [0.9, 0.7, 0.5, 0.3], "learns its training clips by heart; the best was step 100."),
        ([1.0, 0.9, 1.4, 2.0], [0.9, 0.8, 1.3, 1.9], "the learning rate is too high; the best was step 100."),
        ([1.0, 1.001, 1.002], [0.9, 0.9, 0.9], "Not better than at the beginning so far."),
        ([1.0, 0.8, 0.8, 0.8, 0.8, 0.8], [0.9, 0.7, 0.6, 0.5, 0.4, 0.3], "the best is reached; the best was step 100."),
        ([1.0, 0.8, 0.8, 0.8, 0.8, 0.8], [0.9, 0.7, 0.7, 0.7, 0.7, 0.7], "moves any more; the best was step 100."),
    ],
)  # fmt: skip
def test_the_verdict_in_words(held_out: list[float], trained: list[float], words: str) -> None:
    assert verdict(log(held_out, trained)).endswith(words)


def test_the_verdict_begins_with_the_numbers() -> None:
    said = verdict(log([1.0, 0.9], [0.8, 0.6]))
    assert said.startswith(
        "Held-out loss 0.9000 (-10.0 %), training set's 0.6000 (-25.0 %). The gap, +0.3000 and +0.2000"
    )
    assert verdict([]) == verdict([{"step": 1, "loss": 1.0}]) == ""


@given(st.lists(st.floats(0.5, 2), min_size=2, max_size=9), st.floats(0.1, 10))
def test_a_direction_knows_no_scale_and_turns_with_time(values: list[float], scale: float) -> None:
    recent = values[-5:]
    found = direction(recent, 1.0)
    assert direction([value * scale for value in recent], scale) == found
    turned = {"falls": "rises", "rises": "falls", "stands still": "stands still"}
    assert direction(recent[::-1], 1.0) == turned[found]


def steps(losses: list[float]) -> list[dict[str, object]]:
    return [{"step": step, "loss": loss} for step, loss in enumerate(losses, 1)]


def test_the_smoothed_loss_is_a_mean_at_first() -> None:
    losses = [random.Random(0).uniform(0, 2) for _ in range(SMOOTHING_STEPS)]
    assert smoothed_loss(steps(losses)).value == pytest.approx(sum(losses) / len(losses))
    assert smoothed_loss(steps([0.7] * 300)).value == pytest.approx(0.7)


def test_a_loss_that_went_away_is_found_and_when() -> None:
    """Ten times the loss from step 401: far after a few steps, and called after 100 more."""
    losses = [1.0] * 400 + [10.0] * 200
    found = next(n for n in range(len(losses)) if smoothed_loss(steps(losses[:n])).diverged)
    assert 400 + LONG_STEPS < found < 400 + LONG_STEPS + 10
    assert 400 <= smoothed_loss(steps(losses[:found])).near_step <= 402


def test_what_comes_back_did_not_diverge() -> None:
    losses = [1.0] * 400 + [10.0] * 30 + [1.0] * 400
    assert not any(smoothed_loss(steps(losses[:n])).diverged for n in range(0, len(losses), 10))


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_no_divergence(seed: int) -> None:
    """Losses of single clips at random noise levels, spread as wide as their mean, over 5,000 steps."""
    draw = random.Random(seed)
    losses = [draw.lognormvariate(0, 0.8) * (0.5 + math.exp(-step / 500)) for step in range(5000)]
    watched = smoothed_loss([])
    worst = 0.0
    for step, loss in enumerate(losses, 1):
        watched.add(step, loss)
        assert not watched.diverged
        worst = max(worst, watched.value / watched.lowest)
    assert worst < FAR


def test_a_resumed_watch_is_the_unbroken_one() -> None:
    losses = [random.Random(1).uniform(0, 2) for _ in range(500)]
    whole = smoothed_loss(steps(losses))
    resumed = smoothed_loss(steps(losses)[:237])
    for row in steps(losses)[237:]:
        resumed.add(row["step"], row["loss"])  # type: ignore[arg-type]
    assert resumed == whole
