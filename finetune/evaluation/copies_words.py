"""What was found of copies, in words for the musician."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from finetune.evaluation.results import Copy

NAMED = 3


def copied_words(
    verdict: Literal["copies", "same grooves", "new"],
    nearest: Sequence[Copy],
    training: int,
    held_out: int,
    held_out_waveform: float | None,
) -> str:
    """`training` and `held_out` are how many clips were compared with; the likeness is the nearest held-out take's."""
    if not nearest or not training:
        return f"Nothing was compared: there is no {'sound' if not nearest else 'training clip'}."
    return f"{_found(verdict, nearest)} {_calibrated(held_out, held_out_waveform)}"


def _found(verdict: str, nearest: Sequence[Copy]) -> str:
    some = [
        each for each in nearest if each.verdict == ("verbatim" if verdict == "copies" else "same groove")
    ]
    of = f"{len(some)} of {len(nearest)} sounds"
    if verdict == "copies":
        return (
            f"{of} {'repeat' if len(some) > 1 else 'repeats'} a training clip: {_clips(some)}. Do not release this as "
            "it is; take an earlier checkpoint or a lower strength, or train on more clips."
        )
    if verdict == "same grooves":
        return (
            f"No sound repeats a training clip, but {of} {'have' if len(some) > 1 else 'has'} the groove of one, "
            f"perhaps at another speed or pitch: {_clips(some)}. Listen to them side by side."
        )
    highest = max(each.waveform for each in nearest)
    return f"None of {len(nearest)} sounds repeats a training clip; the nearest waveform correlates by {highest:.2f}."


def _calibrated(held_out: int, likeness: float | None) -> str:
    if not held_out or likeness is None:
        return "There were no held-out takes to compare with, so what counts as near is not calibrated to this player."
    return f"Of {held_out} held-out takes the nearest to a training clip has {likeness:.2f}."


def _clips(copies: Sequence[Copy]) -> str:
    names = list(dict.fromkeys(each.clip for each in copies))
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest
