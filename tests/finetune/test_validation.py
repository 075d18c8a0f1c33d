"""The held-out loss: fixed noise, fixed times, and independent clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_recipe, write_dataset

from data_prep.dataset import clips
from finetune.base_model import BaseModel, Conditions
from finetune.batches import seeded
from finetune.latents import EncodedDataset, encode_dataset
from finetune.recipe import Recipe
from finetune.validation import TIMES, validation_losses


@pytest.fixture
def data(tiny_base: BaseModel, dataset: Path, tmp_path: Path) -> EncodedDataset:
    return encode_dataset(tiny_base, clips(dataset), [], 0, tmp_path / "cache")


def test_it_is_the_error_of_the_velocity(tiny_base: BaseModel, data: EncodedDataset, recipe: Recipe) -> None:
    """One time after another, one clip after another, written out."""
    expected = {}
    for time in TIMES:
        errors = []
        for clip in data.split("validation"):
            x = clip.latents()[None]
            noise = torch.randn(x.shape[1:], generator=seeded("held out", clip.clip.clip_sha256, time, 0))[
                None
            ]
            conditions = Conditions([data.prompt(clip.clip.text)], torch.tensor([1.0]))
            with torch.no_grad():
                velocity = tiny_base.velocity((1 - time) * x + time * noise, torch.tensor([time]), conditions)
            errors.append(((velocity - (noise - x)) ** 2).mean())
        expected[f"{time:g}"] = float(torch.stack(errors).mean())
    got = validation_losses(tiny_base, data, recipe)
    assert got["held_out_loss_bands"] == pytest.approx(expected, rel=1e-5)
    assert got["held_out_loss"] == pytest.approx(sum(expected.values()) / 5, rel=1e-5)


def test_it_is_the_same_every_time_whatever_was_drawn(
    tiny_base: BaseModel, data: EncodedDataset, recipe: Recipe
) -> None:
    first = validation_losses(tiny_base, data, recipe)
    torch.randn(100)
    assert validation_losses(tiny_base, data, recipe) == first
    assert validation_losses(tiny_base, data, replace(recipe, seed=9)) == first


def test_a_clip_does_not_change_the_loss_of_another(
    tiny_base: BaseModel, data: EncodedDataset, recipe: Recipe
) -> None:
    held_out = data.split("validation")
    alone = [
        validation_losses(tiny_base, replace(data, clips=[clip]), recipe)["held_out_loss"]
        for clip in held_out
    ]
    together = validation_losses(tiny_base, data, recipe)["held_out_loss"]
    assert together == pytest.approx(sum(alone) / 2, rel=1e-6)
    first_only = replace(recipe, validation=replace(recipe.validation, clips=1))
    assert validation_losses(tiny_base, data, first_only)["held_out_loss"] == alone[0]


def test_long_clips_are_heard_from_their_beginning(
    tiny_base: BaseModel, tiny_base_folder: Path, tmp_path: Path
) -> None:
    dataset = write_dataset(tmp_path / "long", [0.3], [0.9])
    data = encode_dataset(tiny_base, clips(dataset), [], 0, tmp_path / "cache")
    recipe = make_recipe(tiny_base_folder, dataset, tmp_path, data__crop_seconds=0.5)
    whole = validation_losses(tiny_base, data, recipe)
    (clip,) = data.split("validation")
    assert clip.frames == 20

    class Beginning(type(clip)):  # type: ignore[misc]
        def latents(self) -> torch.Tensor:
            return super().latents()[:, :11]

    cut = replace(data, clips=[Beginning(clip.clip, 11, clip.file)])
    assert validation_losses(tiny_base, cut, recipe)["held_out_loss_bands"] == whole["held_out_loss_bands"]


def test_more_draws_are_averaged(tiny_base: BaseModel, data: EncodedDataset, recipe: Recipe) -> None:
    one, three = (
        validation_losses(
            tiny_base, data, replace(recipe, validation=replace(recipe.validation, draws=draws))
        )
        for draws in (1, 3)
    )
    assert one["held_out_loss"] != three["held_out_loss"]
    assert one["held_out_loss"] == pytest.approx(three["held_out_loss"], rel=0.3)


def test_the_training_set_is_asked_the_same(
    tiny_base: BaseModel, data: EncodedDataset, recipe: Recipe
) -> None:
    """As many of its clips as are held out, from all over it, measured in the same way."""
    row = validation_losses(tiny_base, data, recipe)
    train = data.split("train")
    asked = [train[0], train[2]]  # 2 of 5
    as_held_out = [replace(clip, clip=replace(clip.clip, split="validation")) for clip in asked]
    swapped = validation_losses(tiny_base, replace(data, clips=as_held_out), recipe)
    assert row["training_set_loss"] == swapped["held_out_loss"]
    assert row["training_set_loss_bands"] == swapped["held_out_loss_bands"]


def test_nothing_is_measured_without_held_out_clips(
    tiny_base: BaseModel, data: EncodedDataset, recipe: Recipe
) -> None:
    assert validation_losses(tiny_base, replace(data, clips=data.split("train")), recipe) == {}
