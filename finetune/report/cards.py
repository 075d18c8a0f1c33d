"""The four questions of an evaluation, each with its verdict, its words and the one figure."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.evaluation.results import Evaluation
from finetune.report.figures import interval

HEADLINES = {
    "use": "Use it.",
    "train longer": "Train it longer.",
    "take an earlier checkpoint": "Take an earlier checkpoint.",
    "do not use": "Do not use it.",
}
ACTION_TONES = {
    "use": "good",
    "train longer": "fair",
    "take an earlier checkpoint": "fair",
    "do not use": "bad",
}
TONES = {
    "nothing": "bad", "slight": "fair", "plain": "good", "strong": "good",
    "learned": "good", "overtrained": "bad", "unknown": "fair",
    "kept": "good", "changed": "fair", "lost": "bad",
    "copies": "bad", "same grooves": "fair", "new": "good",
}  # fmt: skip


@dataclass(frozen=True)
class Card:
    """`tone` is good, fair or bad; `to` the part of the page with the figures."""

    question: str
    verdict: str
    tone: str
    words: str
    figure: str
    meaning: str
    to: str


def cards(evaluation: Evaluation) -> list[Card]:
    """One for each question, in their order."""
    effect, learned, kept, copied = evaluation.effect, evaluation.learned, evaluation.kept, evaluation.copied
    return [
        _card("Does it do anything?", effect.verdict, effect.words, _effect(evaluation), "fig-effect"),
        _card("Does it play like you?", learned.verdict, learned.words, _learned(evaluation), "fig-learned"),
        _card("Does it still do what the base did?", kept.verdict, kept.words, _kept(evaluation), "fig-kept"),
        _card("Does it copy you?", copied.verdict, copied.words, _copied(evaluation), "copies"),
    ]  # fmt: skip


def _card(question: str, verdict: str, words: str, figure: tuple[str, str], to: str) -> Card:
    return Card(question, verdict.capitalize(), TONES[verdict], words, *figure, to)


def _effect(evaluation: Evaluation) -> tuple[str, str]:
    return f"{100 * evaluation.effect.relative:.3g} %", "change of what the base predicts"


def _learned(evaluation: Evaluation) -> tuple[str, str]:
    held_out = evaluation.learned.held_out
    if held_out is None:
        return "–", "no take was held out to measure it by"
    return interval(held_out.change), f"loss on {held_out.clips} held-out clips, against the base"


def _kept(evaluation: Evaluation) -> tuple[str, str]:
    """At the strength that is nearest to the recommended one."""
    kept = evaluation.kept
    if not kept.strengths:
        return "–", "no prompt outside of your set was played"
    at = min(kept.strengths, key=lambda each: abs(each.strength - evaluation.recommendation.strength))
    if at.above_floor is not None:
        words = f"further from the base than it is from itself, at strength {at.strength:g}"
        return interval(at.above_floor, percent=False), words
    return f"{at.distance:.3g}", f"from the base at strength {at.strength:g}; from itself: {kept.floor:.3g}"


def _copied(evaluation: Evaluation) -> tuple[str, str]:
    copied = evaluation.copied
    if not copied.nearest:
        return "–", "nothing was compared"
    nearest = max(copied.nearest, key=lambda each: each.waveform - each.waveform_threshold)
    return (
        f"{nearest.waveform:.2f}",
        f"likeness of the nearest sound; a copy from {nearest.waveform_threshold:.2f} on",
    )
