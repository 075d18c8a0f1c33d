"""The words that a clip is trained with: as they were prepared or composed anew, called by the trigger or not."""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch

from data_prep.dataset import Clip, DatasetError, wordings
from finetune.errors import WoodshedError
from finetune.recipe import DataGroup


def draw_caption(clip: Clip, group: DataGroup, generator: torch.Generator) -> str:
    """One of the clip's wordings, with the trigger in `trigger_share` of the draws, where there is a trigger."""
    texts = _wordings(clip, group)
    text = texts[int(torch.randint(len(texts), (), generator=generator))]
    if not group.trigger:
        return text
    called = float(torch.rand((), generator=generator)) < group.trigger_share
    return with_trigger(text, group.trigger) if called else without_trigger(text, group.trigger)


def possible_captions(clips: Iterable[Clip], group: DataGroup) -> list[str]:
    """Everything that `draw_caption` may answer for these clips, each text once."""
    texts = [text for clip in clips for text in _wordings(clip, group)]
    if group.trigger:
        called = [with_trigger(text, group.trigger) for text in texts] if group.trigger_share > 0 else []
        plain = [without_trigger(text, group.trigger) for text in texts] if group.trigger_share < 1 else []
        texts = called + plain
    return list(dict.fromkeys(texts))


def has_trigger(text: str, trigger: str) -> bool:
    return bool(_word(trigger).search(text))


def with_trigger(text: str, trigger: str) -> str:
    """`text` with the trigger in it: where it stands, else before its first sentence, after the tags."""
    if has_trigger(text, trigger):
        return text
    tags, dot, sentence = text.partition(". ")
    if dot and re.match(r"\w+: ", tags):
        return f"{tags}. {trigger} {sentence}"
    return f"{trigger}, {text}"


def without_trigger(text: str, trigger: str) -> str:
    """`text` without the trigger; a text that is nothing else stays."""
    return _word(trigger).sub("", text).strip() or text


def _word(trigger: str) -> re.Pattern[str]:
    """The trigger as a word of its own, in any case, with the comma and the spaces after it."""
    return re.compile(rf"(?<!\w){re.escape(trigger)}(?!\w),?\s*", re.IGNORECASE)


def _wordings(clip: Clip, group: DataGroup) -> tuple[str, ...]:
    if group.captions == "canonical":
        return (clip.text,)
    if group.captions == "varied":
        return clip.captions
    try:
        return wordings(clip, group.wordings)
    except DatasetError as error:
        raise WoodshedError(str(error)) from error
