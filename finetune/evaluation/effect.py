"""Does the adapter do anything? How much it changes what the base predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from finetune.evaluation.ladder import Heard
from finetune.evaluation.results import Effect, EffectAt, EffectVerdict
from finetune.validation import TIMES

NOTHING_BELOW, SLIGHT_BELOW, PLAIN_BELOW = 1e-3, 0.03, 0.2
"""Relative change of predictions at strength 1. An adapter of zeros changes nothing, to the last bit."""


def effect_of(heard: Mapping[float, Heard], blocks: Sequence[float]) -> Effect:
    """The part `effect`, of what was heard at each strength, 1 among them, and of the change after each block."""
    whole = heard[1.0]
    verdict = effect_verdict(whole.relative)
    return Effect(
        verdict=verdict,
        words=_words(verdict, whole.relative),
        relative=whole.relative,
        bands=[EffectAt(f"{t:g}", change) for t, change in zip(TIMES, whole.relative_by_time, strict=True)],
        blocks=[EffectAt(str(number), change) for number, change in enumerate(blocks)],
        strengths=[EffectAt(f"{strength:g}", each.relative) for strength, each in heard.items()],
    )


def effect_verdict(relative: float) -> EffectVerdict:
    if relative < NOTHING_BELOW:
        return "nothing"
    return "slight" if relative < SLIGHT_BELOW else "plain" if relative < PLAIN_BELOW else "strong"


def _words(verdict: EffectVerdict, relative: float) -> str:
    if verdict == "nothing":
        return (
            f"This adapter does nothing: it changes the base's predictions by {100 * relative:.2g} %. Train it, or "
            "train it with a higher optimizer.learning_rate."
        )
    much = {"slight": "a little", "plain": "plainly", "strong": "strongly"}[verdict]
    return f"It changes what the base predicts {much}: by {100 * relative:.1f} % at strength 1."
