"""Does it play like the player? Losses beside the base's, clip by clip, with how sure they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finetune.evaluation.bootstrap import interval, resample_counts
from finetune.evaluation.ladder import Heard
from finetune.evaluation.results import Figure, LossAgainstBase, LossBand
from finetune.validation import TIMES

DRAWS = 2000
ENOUGH_RECORDINGS = 5
"""From so many recordings on, these are drawn anew, not their clips, which are no independent takes."""


def loss_against_base(
    base: Heard, adapted: Heard, recordings: Sequence[str], seed: int = 0
) -> LossAgainstBase:
    """Of one adapter on clips, a row each, which come from `recordings`; pairs are drawn with replacement."""
    counts = _draws(recordings, seed)
    bands = [
        LossBand(t, float(b.mean()), float(a.mean()), _change(b, a, counts))
        for t, b, a in zip(TIMES, base.losses.T, adapted.losses.T, strict=True)
    ]
    before, after = base.losses.mean(1), adapted.losses.mean(1)
    whole = _change(before, after, counts)
    return LossAgainstBase(len(recordings), float(before.mean()), float(after.mean()), whole, bands)


def _change(base: np.ndarray, adapted: np.ndarray, counts: np.ndarray | None) -> Figure:
    """Relative change of the mean over clips."""
    value = float(adapted.sum() / base.sum() - 1)
    if counts is None:
        return Figure(value)
    return Figure(value, *interval((counts @ adapted) / (counts @ base) - 1))


def _draws(recordings: Sequence[str], seed: int) -> np.ndarray | None:
    """(draws, clips) how often each clip counts; None where there is nothing to draw from."""
    if len(recordings) < 2:
        return None
    names = sorted(set(recordings))
    if len(names) < ENOUGH_RECORDINGS:
        return resample_counts(len(recordings), DRAWS, seed)
    of = [names.index(each) for each in recordings]
    return resample_counts(len(names), DRAWS, seed)[:, of]
