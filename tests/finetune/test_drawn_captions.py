"""What a clip is called while training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data_prep.captioning.captions import compose
from data_prep.dataset import Clip
from finetune.batches import seeded
from finetune.captions import draw_caption, possible_captions, with_trigger, without_trigger
from finetune.errors import WoodshedError
from finetune.recipe import DataGroup

FACTS = {
    "instruments": "Drum Kit",
    "genre": "Breakbeat",
    "kind": "loop",
    "pieces": ["kick", "snare", "hi-hat"],
    "brightness": "bright",
    "room": "dry",
    "tempo": 92.0,
    "metre": "4/4",
    "seconds": 10.4,
}
CALLED = compose(FACTS, "mykit")
CLIP = Clip("a", "train", Path("a.wav"), "0", CALLED, (CALLED, "a dry loop"), 10.4, "take.wav", 60.0, FACTS)


def drawn(clip: Clip, count: int = 300, **group: object) -> list[str]:
    return [draw_caption(clip, DataGroup(**group), seeded(number)) for number in range(count)]  # type: ignore[arg-type]


def test_captions_are_one_or_many() -> None:
    assert set(drawn(CLIP, captions="canonical")) == {CALLED}
    assert set(drawn(CLIP, captions="varied")) == set(CLIP.captions)


def test_composed_captions_say_the_same_facts_in_other_ways() -> None:
    texts = drawn(CLIP, captions="composed", wordings=12)
    assert len(set(texts)) == 12
    assert all("Instruments: Drum Kit" in text and "loop" in text for text in texts)
    assert compose(FACTS) in texts and not any("mykit" in text for text in texts)


def test_what_a_person_wrote_is_not_composed_anew() -> None:
    assert set(drawn(replace(CLIP, reviewed=True), captions="composed")) == set(CLIP.captions)
    assert set(drawn(replace(CLIP, facts={}), captions="composed")) == set(CLIP.captions)


@pytest.mark.parametrize("captions", ["canonical", "varied", "composed"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_trigger_stands_in_its_share_of_the_captions(captions: str, share: float) -> None:
    texts = drawn(CLIP, 1000, captions=captions, trigger="mykit", trigger_share=share)
    assert sum("mykit" in text for text in texts) / 1000 == pytest.approx(share, abs=0.05)
    if share == 0.3 and captions == "canonical":
        assert set(texts) == {compose(FACTS, "mykit"), compose(FACTS)}


@pytest.mark.parametrize("captions", ["canonical", "varied", "composed"])
@pytest.mark.parametrize(("trigger", "share"), [(None, 0.8), ("mykit", 0.8), ("mykit", 0.0), ("mykit", 1.0)])
def test_every_caption_that_is_drawn_was_to_be_encoded(
    captions: str, trigger: str | None, share: float
) -> None:
    group = {"captions": captions, "trigger": trigger, "trigger_share": share}
    possible = possible_captions([CLIP], DataGroup(**group))  # type: ignore[arg-type]
    assert set(drawn(CLIP, 600, **group)) == set(possible)
    assert len(possible) == len(set(possible))


def test_a_draw_depends_on_its_generator_alone() -> None:
    group = {"captions": "composed", "trigger": "mykit"}
    torch.manual_seed(1)
    first = drawn(CLIP, 20, **group)
    torch.manual_seed(2)
    assert drawn(CLIP, 20, **group) == first


@pytest.mark.parametrize(
    ("plain", "called"),
    [
        ("A dry break.", "mykit, A dry break."),
        ("Instruments: Drum Kit. swung loop. BPM: 92", "Instruments: Drum Kit. mykit swung loop. BPM: 92"),
        ("break. BPM: 92", "mykit, break. BPM: 92"),
    ],
)
def test_the_trigger_goes_in_and_out_again(plain: str, called: str) -> None:
    assert with_trigger(plain, "mykit") == called
    assert with_trigger(called, "mykit") == called
    assert without_trigger(called, "mykit") == plain
    assert without_trigger(plain, "mykit") == plain


def test_only_whole_words_are_the_trigger() -> None:
    assert without_trigger("a kit, my-kit and mykits", "kit") == "a my-and mykits"
    assert without_trigger("MyKit loop", "mykit") == "loop"
    assert without_trigger("mykit", "mykit") == "mykit"
    assert with_trigger("mykits are many", "mykit") == "mykit, mykits are many"


def test_facts_that_make_no_caption_are_a_sentence() -> None:
    with pytest.raises(WoodshedError, match=r"fields of a make no caption .*mend its row in manifest.jsonl"):
        drawn(replace(CLIP, facts={"swing": "very"}), 1, captions="composed")
