"""The part `learned`: a verdict from losses and their intervals, and words."""

from __future__ import annotations

from collections.abc import Sequence

from finetune.evaluation.results import (
    Asked,
    DistanceTo,
    Figure,
    Learned,
    LearnedVerdict,
    LossAgainstBase,
    LossAtStrength,
)
from finetune.watch import STILL

RISEN = 0.01
"""A held-out loss this much above the run's lowest has risen again."""


def learned_of(
    held_out: LossAgainstBase | None,
    training: LossAgainstBase | None,
    lowest: float | None,
    distances: Sequence[DistanceTo],
    asked: Sequence[Asked],
    strengths: Sequence[LossAtStrength],
) -> Learned:
    """`lowest` is the lowest held-out loss of the run's log beside its first, -0.3 for 30 % below; None without."""
    verdict = learned_verdict(held_out, training, lowest)
    words = _words(verdict, held_out, training, lowest, distances)
    return Learned(verdict, words, held_out, training, list(distances), list(asked), list(strengths))


def learned_verdict(
    held_out: LossAgainstBase | None, training: LossAgainstBase | None, lowest: float | None
) -> LearnedVerdict:
    """`overtrained`: better on what it was trained on, and on held-out clips surely worse than the base, or worse than
    the run was before. `learned`: surely better than the base. `nothing`: neither."""
    if held_out is None:
        return "unknown"
    fits = training is not None and training.change.value < 0
    risen = lowest is not None and 1 + held_out.change.value > (1 + lowest) * (1 + RISEN)
    if fits and (surely_above(held_out.change) or risen):
        return "overtrained"
    return "learned" if surely_below(held_out.change) else "nothing"


def surely_below(change: Figure) -> bool:
    """Below the base by more than STILL with its whole interval; of one clip alone, which has none, with its value."""
    return (change.value if change.high is None else change.high) < -STILL


def surely_above(change: Figure) -> bool:
    return (change.value if change.low is None else change.low) > STILL


def percent(change: Figure) -> str:
    """`-12.3 % (from -14.0 to -10.1 %)`."""
    said = f"{_signed(change.value)} %"
    if change.low is None or change.high is None:
        return f"{said} (one clip alone, so how sure that is cannot be said)"
    return f"{said} (from {_signed(change.low)} to {_signed(change.high)} %)"


def _signed(share: float) -> str:
    """In percent, to a tenth; no sign before what is none."""
    return f"{100 * share:+.1f}" if round(100 * share, 1) else "0.0"


def _words(
    verdict: LearnedVerdict,
    held_out: LossAgainstBase | None,
    training: LossAgainstBase | None,
    lowest: float | None,
    distances: Sequence[DistanceTo],
) -> str:
    if held_out is None:
        return (
            "No clips were held out, so whether it learned your playing or only your files is unknown. Record one take "
            "more and prepare again: `woodshed prep` holds whole recordings back where there are two or more."
        )
    change = percent(held_out.change)
    said = {
        "learned": f"It learned your playing: the loss on held-out takes is {change} beside the base's.",
        "nothing": f"It learned nothing that shows on held-out takes: their loss is {change} beside the base's.",
        "overtrained": f"It learned its training clips by heart: the loss on held-out takes is {change} beside the "
        "base's",
    }[verdict if verdict != "unknown" else "nothing"]
    if verdict == "overtrained":
        on_own = f"; on its own clips it is {percent(training.change)}" if training else ""
        was = f"; earlier in the run it was {100 * lowest:+.1f} %" if lowest is not None else ""
        said += f"{was}{on_own}."
    return " ".join([said, *(_closer(each) for each in distances)])


def _closer(far: DistanceTo) -> str:
    low, high = far.gain.low or 0.0, far.gain.high or 0.0
    least = STILL * abs(far.base)
    how = "closer to your held-out takes than" if low > least else "as far from your held-out takes as"
    if high < -least:
        how = "farther from your held-out takes than"
    return (
        f"By {far.space} what it plays is {how} what the base plays: {far.adapted:.3f} against {far.base:.3f}; your "
        f"other takes: {far.floor:.3f}."
    )
