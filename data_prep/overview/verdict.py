"""Whether a dataset is enough to train on, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from data_prep.dataset_folder import Row
from data_prep.split import TRAIN, VALIDATION

FEWEST_CLIPS, FEWEST_MINUTES, FEWEST_RECORDINGS = 20, 10.0, 3
MOST_OF_ONE, MOST_ALIKE, MOST_FAULTY = 0.6, 0.5, 0.2
FAULTS = "clipped", "dc", "below_44100", "eight_bit", "cut_off"


@dataclass(frozen=True)
class Verdict:
    """`too little`: an adapter will learn it by heart. `thin`: it trains, and `reasons` say what to expect. `enough`:
    nothing speaks against it."""

    word: Literal["enough", "thin", "too little"]
    reasons: list[str]


def judge(rows: Iterable[Row]) -> Verdict:
    """Of the rows of a manifest."""
    rows = list(rows)
    trained = [row for row in rows if row["split"] == TRAIN]
    if not trained:
        return Verdict("too little", ["There is nothing to train on."])
    reasons = [*_size(rows, trained), *_variety(trained), *_faults(trained)]
    few = len(trained) < FEWEST_CLIPS
    return Verdict("too little" if few else "thin" if reasons else "enough", reasons)


def _size(rows: list[Row], trained: list[Row]) -> list[str]:
    reasons = []
    minutes = sum(row["seconds"] for row in trained) / 60
    recordings = len({row["recording"] for row in rows if row["split"] in (TRAIN, VALIDATION)})
    if len(trained) < FEWEST_CLIPS:
        reasons.append(
            f"{_counted(len(trained), 'slice')} to train on: an adapter learns fewer than {FEWEST_CLIPS} by heart."
        )
    if minutes < FEWEST_MINUTES:
        reasons.append(
            f"{minutes:.1f} minutes to train on: from {FEWEST_MINUTES:g} on it learns a style and not the slices."
        )
    if recordings < FEWEST_RECORDINGS:
        reasons.append(
            f"{_counted(recordings, 'recording')}: with fewer than {FEWEST_RECORDINGS} there is no honest validation."
        )
    elif not any(row["split"] == VALIDATION for row in rows):
        reasons.append("Nothing is held out: whether an adapter learns or memorises cannot be told.")
    return reasons


def _variety(trained: list[Row]) -> list[str]:
    reasons = []
    seconds: Counter[str] = Counter()
    for row in trained:
        seconds[row["recording"]] += row["seconds"]
    longest, length = seconds.most_common(1)[0]
    if len(seconds) > 1 and (share := length / seconds.total()) > MOST_OF_ONE:
        reasons.append(
            f"{share:.0%} of what is trained on is one recording, {longest}: it will sound like it."
        )
    count = max(Counter(row["text"] for row in trained).values())
    if len(trained) > 1 and count / len(trained) > MOST_ALIKE:
        reasons.append(
            f"{count} of {len(trained)} slices have the same caption: prompts cannot tell them apart."
        )
    return reasons


def _faults(trained: list[Row]) -> list[str]:
    faulty = sum(any(gate in FAULTS for gate in row["quality"]) for row in trained)
    if faulty / len(trained) <= MOST_FAULTY:
        return []
    return [
        f"{faulty} of {len(trained)} slices have faults that can be heard: the adapter will play them too."
    ]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
