"""What the evaluation of a run found of the adapter that was exported, in the words of a card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import WoodshedError
from finetune.evaluation.files import read_evaluation
from finetune.evaluation.results import Evaluation

COPIES = {
    "copies": "At least one sound that it made repeats a training clip.",
    "same grooves": "No sound repeats a training clip; some have the groove of one.",
    "new": "No sound that it made was found in the training clips.",
}


@dataclass(frozen=True)
class Measured:
    """`findings` are rows of question, verdict, words; `strength` is the recommended one, None where the evaluation
    recommends another adapter of the run, or none."""

    date: str
    findings: list[tuple[str, str, str]]
    strength: float | None


def measured(run: Path | None, card: Mapping[str, object]) -> Measured | None:
    """The evaluation in `run` if it is of the adapter whose header carries `card`; else None.

    What it says of single clips names recordings, and stays with the run.
    """
    if run is None:
        return None
    try:
        found = read_evaluation(run)
    except WoodshedError:
        return None
    same = (found.step, found.base_fingerprint) == (card.get("step"), card.get("base_fingerprint"))
    return Measured(found.date[:10], _findings(found), _strength(found)) if same else None


def _findings(found: Evaluation) -> list[tuple[str, str, str]]:
    return [
        ("Does it do anything?", found.effect.verdict, found.effect.words),
        ("Does it play like the recordings?", found.learned.verdict, found.learned.words),
        ("Does it still do what the base did?", found.kept.verdict, found.kept.words),
        ("Does it repeat what it learned from?", found.copied.verdict, COPIES[found.copied.verdict]),
    ]


def _strength(found: Evaluation) -> float | None:
    advice = found.recommendation
    return advice.strength if advice.step == found.step and advice.action != "do not use" else None
