"""Ten constructed runs: losses, distances and copies as a run of known truth would have them, through every function
that makes figures and verdicts of them, to the recommendation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from finetune.evaluation.effect import effect_of
from finetune.evaluation.held_out import loss_against_base
from finetune.evaluation.kept import kept_of
from finetune.evaluation.ladder import LADDER, Heard
from finetune.evaluation.learned import learned_of
from finetune.evaluation.recommend import Findings, recommend
from finetune.evaluation.results import (
    CheckpointFigures,
    Copied,
    Copy,
    Figure,
    LossAtStrength,
    Recommendation,
)
from finetune.evaluation.spaces import Moved

BASE_LOSS, CLIPS = 1.0, 12


@dataclass(frozen=True)
class Constructed:
    """A run: `relative` change at strength 1; losses at strength 1 beside the base's on held-out and training clips;
    `best_strength` where the held-out loss is lowest; `log` held-out losses every 100 steps; how far it `moved` at half
    and full strength, where the player's takes are at 1; at which strengths sounds repeat clips."""

    truth: str
    relative: float
    held_out: float | None
    training: float
    log: tuple[float, ...]
    best_strength: float = 1.0
    moved: tuple[float, float] = (0.02, 0.05)
    copies_at: dict[float, bool] = field(default_factory=dict)
    evaluated: int = -1
    effect: str = "strong"
    learned: str = "learned"
    kept: str = "kept"
    action: str = "use"
    step: int | None = None
    strength: float | None = 1.0
    said: str = ""


FALLS_THEN_STANDS = (1.0, 0.8, 0.72, 0.70, 0.699, 0.699, 0.698)
STILL_FALLS = (1.0, 0.9, 0.8, 0.7)
RISES_AGAIN = (1.0, 0.8, 0.7, 0.75, 0.82, 0.9)

RUNS = [
    Constructed(
        "an adapter of zeros", 0.0, 1.0, 1.0, (1.0, 1.0, 1.0),
        effect="nothing", learned="nothing", action="do not use", said="does nothing",
    ),
    Constructed("a good run", 0.4, 0.698, 0.65, FALLS_THEN_STANDS, said="at strength 1"),
    Constructed(
        "one that still improves", 0.4, 0.7, 0.68, STILL_FALLS, action="train longer", said="still falls"
    ),
    Constructed(
        "one that overfitted late, its best adapter", 0.4, 0.7, 0.6, RISES_AGAIN, evaluated=2,
        action="take an earlier checkpoint", step=200, said="step 200",
    ),
    Constructed(
        "the end of the same", 0.6, 0.9, 0.3, RISES_AGAIN, learned="overtrained",
        action="take an earlier checkpoint", step=200, said="step 200",
    ),
    Constructed(
        "one that copies at every strength", 0.5, 0.698, 0.2, FALLS_THEN_STANDS, copies_at={1.0: True, 0.5: True},
        action="do not use", strength=0.0, said="repeats training clips",
    ),
    Constructed(
        "one that copies at full strength alone", 0.5, 0.698, 0.4, FALLS_THEN_STANDS,
        copies_at={1.0: True, 0.5: False}, strength=0.5, said="At strength 1 sounds repeat",
    ),
    Constructed(
        "one that is too strong", 0.9, 0.75, 0.6, (1.0, 0.78, 0.75, 0.75, 0.75), best_strength=0.5, strength=0.5,
        said="At strength 0.5 the held-out loss is",
    ),
    Constructed(
        "one that diverged", 2.0, 1.8, 1.7, (1.0, 1.2, 1.8), learned="nothing", action="do not use", strength=0.0,
        moved=(0.9, 1.5), kept="lost", best_strength=0.25, said="worse than the base",
    ),
    Constructed(
        "one without held-out clips", 0.4, None, 0.6, (), learned="unknown", said="nothing was held out"
    ),
    Constructed(
        "one that lost what the base could", 0.5, 0.698, 0.6, FALLS_THEN_STANDS, moved=(0.2, 0.8), kept="lost",
        strength=0.5, said="At strength 1 it has lost what the base could, at 0.5 it has not",
    ),
    Constructed(
        "one with a tiny effect", 0.005, 0.9999, 0.9999, (1.0, 1.0, 0.9999), effect="slight", learned="nothing",
        action="train longer", strength=None, said="hardly learned",
    ),
]  # fmt: skip


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.truth)
def test_what_is_true_of_a_run_is_found_and_recommended(run: Constructed) -> None:
    found = findings(run)
    told = recommend(found)
    assert found.effect.verdict == run.effect
    assert found.learned.verdict == run.learned
    assert found.kept.verdict == run.kept
    assert told.action == run.action
    if run.step is not None:
        assert (told.step, told.folder) == (run.step, f"checkpoints/step-{run.step:06}")
    if run.strength is not None:
        assert told.strength == run.strength
    assert run.said in f"{told.words} {' '.join(told.reasons)}"


def test_figures_of_a_constructed_run_are_those_that_were_planted() -> None:
    found = findings(next(run for run in RUNS if run.truth == "a good run"))
    held_out = found.learned.held_out
    assert found.effect.relative == pytest.approx(0.4)
    assert held_out is not None and held_out.change.value == pytest.approx(-0.302, abs=0.02)
    assert held_out.change.low is not None and held_out.change.high is not None
    assert held_out.change.low < -0.302 < held_out.change.high


def test_the_recommendation_of_copies_names_the_clips() -> None:
    run = next(run for run in RUNS if run.truth == "one that copies at every strength")
    told: Recommendation = recommend(findings(run))
    assert any("take-1-0001" in reason for reason in told.reasons)


def findings(run: Constructed) -> Findings:
    """All figures of a constructed run, made by the functions that make them of a real one."""
    held_out = heard(run.held_out, run.best_strength, run.relative, 0) if run.held_out is not None else {}
    training = heard(run.training, 1.0, run.relative, 1)
    recordings = [f"take {number}" for number in range(CLIPS)]
    losses = {
        name: loss_against_base(of[0.0], of[1.0], recordings) if of else None
        for name, of in (("held out", held_out), ("training", training))
    }
    strengths = [LossAtStrength(s, float(each.losses.mean())) for s, each in held_out.items()]
    steps = [100 * number for number in range(len(run.log))]
    at = steps[run.evaluated] if steps else 300
    folders = {step: f"checkpoints/step-{step:06}" for step in steps[1:]} | {at: f"checkpoints/step-{at:06}"}
    return Findings(
        step=at,
        folder=folders[at],
        effect=effect_of(held_out or training, [run.relative / 2, run.relative]),
        learned=learned_of(losses["held out"], losses["training"], lowest(run), [], [], strengths),
        kept=kept_of(moved(run), moved(run), [0.0, run.relative / 2, run.relative]),
        copied=copied(run),
        checkpoints=[CheckpointFigures(s, loss, loss, None) for s, loss in zip(steps, run.log, strict=True)],
        folders=folders,
        copies_at=run.copies_at,
    )


def lowest(run: Constructed) -> float | None:
    return min(run.log[1:]) / run.log[0] - 1 if run.log else None


def heard(loss: float, best_strength: float, relative: float, seed: int) -> dict[float, Heard]:
    """Losses that go from the base's at 0 to `loss` at 1, lowest at `best_strength`; each clip has its own level, and
    each pair of base and adapter a little noise of its own, which is none where they are the same."""
    noise = np.random.default_rng(seed)
    level = noise.uniform(0.7, 1.3, (CLIPS, 1)) * np.ones((1, 5))
    wobble = 1 + 0.02 * min(1.0, relative) * noise.standard_normal((CLIPS, 5))
    power = np.ones((CLIPS, 5))
    found = {}
    for strength in LADDER:
        share = loss_at(strength, loss, best_strength)
        mixed = level * BASE_LOSS * (share * wobble if strength else 1.0)
        found[strength] = Heard(mixed, power * (relative * strength) ** 2, power)
    return found


def loss_at(strength: float, loss: float, best: float) -> float:
    """1 at strength 0 and `loss` at 1: a parabola with its bottom at `best`; where the two are at one height, flat."""
    if best == 1.0:
        return loss + (1 - loss) * (1 - strength) ** 2 if loss <= 1 else 1 + (loss - 1) * strength
    bend = (loss - 1) / (1 - 2 * best) if best != 0.5 else 1.0
    bottom = loss - bend * (1 - best) ** 2
    return bottom + bend * (strength - best) ** 2 if strength else 1.0


def moved(run: Constructed) -> Moved:
    half, full = run.moved
    above = [Figure(value, value - 0.05, value + 0.05) for value in (0.0, half, full)]
    return Moved(floor=0.0, played=[0.0, half, full], above_floor=above, player=1.0)


def copied(run: Constructed) -> Copied:
    copies = any(run.copies_at.values())
    verdict = "verbatim" if copies else "new"
    nearest = Copy("training-1", verdict, "take-1-0001", "take 1.wav", 0.9, 0.9, 1.0, 0.0, 0.0, 2.0)  # type: ignore[arg-type]
    words = "1 of 1 sounds repeats a training clip." if copies else "None repeats a training clip."
    return Copied("copies" if copies else "new", words, 0.93, 0.8, 0.6, 0.7, [nearest])
