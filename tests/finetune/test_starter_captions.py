"""What the starter base was told of its clips: data_prep's words where measured, the truth where known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from data_prep.heard.descriptors import DENSE_FROM, SPARSE_BELOW, describe
from data_prep.rhythm.onsets import Onset
from data_prep.slicing.slices import Slicing
from finetune.base_model.starter.drums import PIECES, Kit
from finetune.base_model.starter.grooves import Clip, kit_clips, one_shot
from finetune.base_model.starter.prompts import FAMILIES, WORDS, caption_fields, draw_caption, train_tokenizer

KIT_NUMBERS = (0, 1, 3)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return [clip for number in KIT_NUMBERS for clip in kit_clips(2, number)]


@pytest.fixture(scope="module")
def told(clips: list[Clip]) -> list[tuple[dict, list[str]]]:
    """The fields of every clip, and thirty captions of each."""
    rng = np.random.default_rng(0)
    fields = [caption_fields(clip) for clip in clips]
    return [(known, [draw_caption(known, rng) for _ in range(30)]) for known in fields]


def test_measured_words_are_data_preps(clips: list[Clip], told: list[tuple[dict, list[str]]]) -> None:
    for clip, (fields, _) in zip(clips, told, strict=True):
        onsets = [Onset(sample, 1.0, 99.0) for sample in clip.facts["hits"]]
        facts = describe(clip.audio, onsets, Slicing.onsets if fields["kind"] == "one-shot" else Slicing.bars)
        names = ["brightness", "width"] + (["density", "dynamics"] if fields["kind"] != "one-shot" else [])
        for name in names:
            assert fields.get(name) == facts.get(name, {}).get("value"), name


def test_density_counts_the_hits_that_were_played(clips: list[Clip]) -> None:
    for clip in clips:
        if clip.facts["kind"] != "one-shot":
            rate = len(clip.facts["hits"]) / clip.facts["seconds"]
            word = "sparse" if rate < SPARSE_BELOW else "dense" if rate >= DENSE_FROM else None
            assert caption_fields(clip).get("density") == word


def test_fields_are_plain_and_complete(clips: list[Clip], told: list[tuple[dict, list[str]]]) -> None:
    for clip, (fields, _) in zip(clips, told, strict=True):
        assert json.loads(json.dumps(fields)) == fields
        assert fields["seconds"] == pytest.approx(clip.audio.shape[1] / 44100, abs=1e-3)
        assert set(fields["pieces"]) <= set(clip.facts["pieces"])
        assert ("tempo" in fields) == (fields["kind"] != "one-shot") == ("metre" in fields)


def names_of(piece: str) -> set[str]:
    """All that a caption may call a piece."""
    family = FAMILIES.get(piece, piece)
    return {piece, family, *WORDS.get(piece, ()), *WORDS.get(family, ())}


def test_nothing_in_a_caption_is_untrue(told: list[tuple[dict, list[str]]]) -> None:
    every = set().union(*map(names_of, PIECES))
    words = (
        "dark",
        "warm",
        "bright",
        "dry",
        "roomy",
        "sparse",
        "dense",
        "mono",
        "narrow stereo",
        "wide stereo",
    )
    for fields, captions in told:
        mine = set().union(*map(names_of, fields["pieces"]))
        strange = [name for name in every if not any(name in known for known in mine)]
        for caption in captions:
            for bpm in re.findall(r"BPM: (\d+)|\b(\d+) bpm", caption, re.IGNORECASE):
                assert float("".join(bpm)) == fields["tempo"], caption
            assert set(re.findall(r"\d/\d", caption)) <= {fields.get("metre")}, caption
            assert not any(re.search(rf"\b{name}\b", caption) for name in strange), caption
            said = {word for word in words if re.search(rf"\b{word}\b", caption)}
            known = {fields.get(name) for name in ("brightness", "room", "density", "width")}
            assert {word.split()[0] for word in said} <= known, caption
            assert ("swung" not in caption) or fields.get("swing", 0) >= 0.55, caption
            assert ("straight" not in caption) or fields.get("swing", 1) <= 0.52, caption
            assert ("one-shot" not in caption) or fields["kind"] == "one-shot", caption


def test_captions_are_many_and_prompts_are_among_them() -> None:
    rng = np.random.default_rng(0)
    kit = next(kit for kit in map(Kit, range(20)) if kit.type == "acoustic")
    for piece, plain in (
        ("kick", {"kick", "kick one-shot", "bass drum"}),
        ("closed hi-hat", {"hat", "hi-hat", "closed hi-hat one-shot"}),
        ("floor tom", {"tom", "floor tom one-shot"}),
        ("crash cymbal", {"crash", "cymbal", "crash cymbal one-shot"}),
    ):
        fields = caption_fields(one_shot(kit, piece, 0.9, rng))
        captions = {draw_caption(fields, rng) for _ in range(2000)}
        assert plain <= captions and len(captions) > 100
        assert any(caption.startswith("TrackType: ") and f"of {piece}" in caption for caption in captions)


def test_captions_fit_the_text_encoder(told: list[tuple[dict, list[str]]], tmp_path: Path) -> None:
    captions = [caption for _, some in told for caption in some]
    train_tokenizer(captions, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) <= 512
    assert max(len(tokenizer(caption).input_ids) for caption in captions) < 60
    assert tokenizer.decode(tokenizer("zydeco Ω").input_ids, skip_special_tokens=True).strip() == "zydeco Ω"
