"""Batches are a pure function of (dataset, seed, step)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_recipe, write_dataset

from data_prep.dataset import clips, read_audio
from finetune.base_model import BaseModel
from finetune.batches import Batch, Batches, seconds_total, seeded
from finetune.latents import EncodedDataset, encode_dataset
from finetune.loss import batch_loss
from finetune.recipe import Recipe

CROP = 0.6  # 13 latents of the toy base; clips of 0.5 s have 11 and of 0.3 s 7


@pytest.fixture
def data(tiny_base: BaseModel, dataset: Path, tmp_path: Path) -> EncodedDataset:
    return encode_dataset(tiny_base, clips(dataset), [], 12, tmp_path / "cache")


@pytest.fixture
def batches(tiny_base: BaseModel, data: EncodedDataset, recipe: Recipe) -> Batches:
    return Batches(tiny_base, data, recipe)


def changed(batches: Batches, group: str, **values: object) -> Batches:
    recipe = batches.recipe
    return replace(batches, recipe=replace(recipe, **{group: replace(getattr(recipe, group), **values)}))


def assert_equal(one: Batch, other: Batch) -> None:
    for name in ("latents", "noise", "t"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert torch.equal(one.conditions.dropped, other.conditions.dropped)
    assert torch.equal(one.conditions.kept_mask, other.conditions.kept_mask)
    for a, b in zip(one.conditions.prompts, other.conditions.prompts, strict=True):
        assert torch.equal(a.tokens, b.tokens)


def test_a_step_is_drawn_from_its_number_alone(batches: Batches) -> None:
    """Whatever was drawn before, by this process or another object."""
    later = batches.of_step(5)[0]
    for step in (1, 2, 9):
        batches.of_step(step)
    torch.manual_seed(3)
    assert_equal(batches.of_step(5)[0], later)
    assert not torch.equal(
        later.noise, replace(batches, recipe=replace(batches.recipe, seed=1)).of_step(5)[0].noise
    )


def test_accumulation_takes_the_same_batches_in_the_same_order(batches: Batches) -> None:
    twice = changed(batches, "training", gradient_accumulation=2)
    for step in (1, 2, 3):
        first, second = twice.of_step(step)
        assert_equal(first, batches.of_step(2 * step - 1)[0])
        assert_equal(second, batches.of_step(2 * step)[0])


def test_every_clip_comes_once_an_epoch_and_lengths_never_mix(batches: Batches) -> None:
    """Lengths 11 (three clips), 7 and 13 (a crop) make 2 + 1 + 1 batches of at most two."""
    orders = []
    for epoch in range(3):
        groups = [batches._clips(epoch * 4 + position) for position in range(4)]
        assert Counter(clip.clip.id for group in groups for clip in group) == Counter(
            clip.clip.id for clip in batches.data.split("train")
        )
        assert all(len({min(clip.frames, 13) for clip in group}) == 1 for group in groups)
        assert sorted(map(len, groups)) == [1, 1, 1, 2]
        orders.append([clip.clip.id for group in groups for clip in group])
    assert len({tuple(order) for order in orders}) > 1


def test_crops_lie_within_their_clip_and_move(batches: Batches) -> None:
    clip = next(clip for clip in batches.data.split("train") if clip.frames > 13)
    whole = clip.latents()
    starts = set()
    for number in range(30):
        crop = batches._excerpt(clip, False, seeded(number))
        (start,) = [s for s in range(clip.frames - 12) if torch.equal(whole[:, s : s + 13], crop)]
        starts.add(start)
    assert starts == set(range(clip.frames - 12))


def test_silence_follows_endings_only(batches: Batches) -> None:
    """Pieces of 7 and 11 latents grow up to the crop of 13; cropped ones do not, nor do excerpts."""
    endings = changed(batches, "training", silence_seconds=0.2)
    added = []
    for step in range(1, 60):
        batch, clip = endings.of_step(step)[0].latents, endings._clips(step - 1)[0]
        if clip.frames <= 13:
            added.append(batch.shape[-1] - clip.frames)
            assert torch.equal(batch[0, :, : clip.frames], clip.latents())
            assert torch.equal(batch[0, :, clip.frames :], batches.data.silence[:, : added[-1]])
        assert batch.shape[-1] <= 13
    assert {0, 1, 2, 6} <= set(added)
    goes_on = changed(batches, "data", length="excerpt")
    assert {goes_on.of_step(step)[0].latents.shape[-1] for step in range(1, 30)} == {7, 11, 13}


def test_seconds_say_whether_the_piece_ends(data: EncodedDataset) -> None:
    clip = replace(data.clips[0].clip, seconds=4.2, recording_seconds=61.0)
    assert seconds_total(clip, "whole") == 5.0
    assert seconds_total(clip, "excerpt") == 61.0
    assert seconds_total(replace(clip, seconds=4.0000000001), "whole") == 4.0
    assert seconds_total(replace(clip, recording_seconds=1000.0), "excerpt") == 384.0


def test_half_of_the_clips_are_heard_upside_down(
    tiny_base: BaseModel, dataset: Path, recipe: Recipe, tmp_path: Path
) -> None:
    """Encoded from the turned sound; the other draws of a step stay what they are without it."""
    data = encode_dataset(tiny_base, clips(dataset), [], 12, tmp_path / "cache", turn=True)
    clip = data.split("train")[0]
    audio = torch.from_numpy(read_audio(clip.clip.path))
    torch.testing.assert_close(clip.latents(turned=True), tiny_base.encode_audio(-audio[None])[0])
    assert all(clip.turned is None for clip in data.split("validation"))
    batches = changed(Batches(tiny_base, data, recipe), "training", optimal_transport=False)
    straight = changed(batches, "training", polarity_flip=0.0)
    turned = 0
    for step in range(1, 41):
        one, other = batches.of_step(step)[0], straight.of_step(step)[0]
        assert torch.equal(one.noise, other.noise) and torch.equal(one.t, other.t)
        turned += sum(not torch.equal(a, b) for a, b in zip(one.latents, other.latents, strict=True))
    assert 0.3 < turned / sum(len(straight.of_step(step)[0].latents) for step in range(1, 41)) < 0.7


def test_the_context_s_loss_has_its_weight(batches: Batches) -> None:
    """All of a kept clip is given: the loss is that part's alone."""
    given = changed(batches, "training", inpainting_shares=[0.0, 0.0, 1.0])
    batch = next(b for step in range(1, 99) for b in given.of_step(step) if b.conditions.kept_mask.any())
    lighter = next(
        b
        for step in range(1, 99)
        for b in changed(given, "training", context_loss=0.25).of_step(step)
        if b.conditions.kept_mask.any()
    )
    with torch.no_grad():
        losses = [float(batch_loss(batches.base, b)) for b in (batch, lighter, replace(batch, kept_weight=0))]
    assert losses[1] - losses[2] == pytest.approx(0.25 * (losses[0] - losses[2]), rel=1e-4)


def test_what_a_batch_holds(batches: Batches) -> None:
    batch = batches.of_step(1)[0]
    clips_of_it = batches._clips(0)
    size, channels, frames = batch.latents.shape
    assert size == len(clips_of_it) and channels == 8
    assert batch.noise.shape == batch.latents.shape and batch.t.dtype == torch.float32
    conditions = batch.conditions
    assert conditions.seconds.tolist() == [1.0] * size
    assert conditions.kept_mask.shape == (size, 1, frames)
    assert torch.equal(conditions.kept_latents, batch.latents * conditions.kept_mask)
    bare = changed(batches, "training", inpainting=False, conditioning_dropout=0.0).of_step(1)[0].conditions
    assert bare.kept_mask is None and bare.kept_latents is None and not bare.dropped.any()


def test_one_clip_is_enough(tiny_base: BaseModel, tiny_base_folder: Path, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "one", [0.5], [])
    data = encode_dataset(tiny_base, clips(dataset), [], 0, tmp_path / "cache")
    batches = Batches(tiny_base, data, make_recipe(tiny_base_folder, dataset, tmp_path))
    assert [len(batches.of_step(step)[0].latents) for step in (1, 2, 3)] == [1, 1, 1]
