"""Base and adapter hear held-out and training clips with noise: what the parts effect and learned are made from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from finetune.errors import WoodshedError
from finetune.evaluation.candidates import candidates, read_candidate
from finetune.evaluation.effect import effect_of
from finetune.evaluation.ladder import LADDER, Heard, changes_by_block, climb
from finetune.evaluation.results import CheckpointFigures, Effect
from finetune.evaluation.subject import Subject
from finetune.progress import progress_bar
from finetune.tracking import read_log
from finetune.watch import validations

BLOCK_CLIPS, BLOCK_SECONDS = 4, 10.0
"""Streams after each block are kept of so many clips, of so much of each; other checkpoints hear as many clips."""


@dataclass(frozen=True)
class Losses:
    """What was heard at each strength of the ladder on held-out clips, and at 0 and 1 on training clips, a row for each
    clip. Without held-out clips the training clips have the whole ladder."""

    held_out: dict[float, Heard]
    training: dict[float, Heard]


def listen(subject: Subject) -> tuple[Effect, Losses, list[CheckpointFigures]]:
    """Raises WoodshedError where what the adapter predicts is no number."""
    base, adapter = subject.base, subject.adapter
    held_out, training = subject.probes(subject.held_out), subject.probes(subject.training)
    few = (held_out or training)[:BLOCK_CLIPS]
    others = {each.step: each for each in candidates(subject.run) if each.step != subject.candidate.step}
    at_training = (0.0, 1.0) if held_out else LADDER
    total = len(held_out) * (1 + len(LADDER)) + len(training) * (1 + len(at_training))
    with progress_bar("Listening", total + 2 * len(few) * len(others)) as report:
        on_held_out = climb(base, adapter, held_out, LADDER, report) if held_out else {}
        done = len(held_out) * (1 + len(LADDER))
        on_training = climb(base, adapter, training, at_training, report, done)
        effect_on = on_held_out or on_training
        _check_finite(subject, effect_on[1.0])
        relative, done = {subject.candidate.step: effect_on[1.0].relative}, total
        for step, other in others.items():
            weights = read_candidate(subject.run, subject.recipe, other, base)
            relative[step] = climb(base, weights, few, (1.0,), report, done)[1.0].relative
            done += 2 * len(few)
    frames = base.seconds_to_frames(BLOCK_SECONDS)
    short = [replace(each, noisy=each.noisy[..., :frames]) for each in few]
    effect = effect_of(effect_on, changes_by_block(base, adapter, short))
    losses = Losses(_by_clip(subject, on_held_out), _by_clip(subject, on_training))
    return effect, losses, _checkpoints(subject, relative)


def _check_finite(subject: Subject, heard: Heard) -> None:
    if not np.isfinite(heard.losses).all():
        raise WoodshedError(
            f"What the base predicts with '{subject.run / subject.candidate.name}' is no number (NaN or infinite): the "
            "training was lost. Evaluate an earlier step with --adapter, or train again with a lower learning rate."
        )


def _checkpoints(subject: Subject, relative: dict[int, float]) -> list[CheckpointFigures]:
    """What the log and the disk have, by step."""
    rows = {row["step"]: row for row in validations(read_log(subject.run))}
    return [
        CheckpointFigures(
            step,
            rows.get(step, {}).get("held_out_loss"),
            rows.get(step, {}).get("training_set_loss"),
            relative.get(step),
        )
        for step in sorted({*rows, *relative})
    ]


def _by_clip(subject: Subject, heard: dict[float, Heard]) -> dict[float, Heard]:
    """One row for each clip: the mean over its draws."""
    draws = subject.recipe.validation.draws

    def mean(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, draws, values.shape[1]).mean(1)

    return {s: Heard(mean(each.losses), mean(each.changed), mean(each.base)) for s, each in heard.items()}
