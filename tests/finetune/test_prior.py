"""What the base plays by itself is trained with beside the recordings."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_recipe, write_dataset

from finetune.base_model import BaseModel
from finetune.batches import Batches
from finetune.generate import Request, sample_latents
from finetune.latents import PRIOR
from finetune.loss import batch_loss
from finetune.preparation import Training, prepare
from finetune.prior import prior_prompts
from finetune.recipe import Recipe
from finetune.trainer import train

SETTINGS = {
    "data__trigger": "fast",
    "training__prior_share": 0.25,
    "training__prior_clips": 3,
    "adapter__targets": "attention",
    "training__polarity_flip": 0.0,
    "samples__every": 0,
}


@pytest.fixture(scope="module")
def recipe(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    root = tmp_path_factory.mktemp("prior")
    dataset = write_dataset(root / "dataset", [0.5, 0.5, 0.5, 0.3, 0.8], [0.5])
    return make_recipe(tiny_base_folder, dataset, root / "runs", **SETTINGS)


@pytest.fixture(scope="module")
def training(recipe: Recipe) -> Training:
    return prepare(Path(recipe.output.root) / "tiny", recipe)


def of_prior(batches: Batches, number: int) -> bool:
    return batches._clips(number)[0].is_prior


def test_the_base_plays_the_training_captions_without_the_trigger(
    training: Training, tiny_base: BaseModel
) -> None:
    """At the lengths of training clips, told what is told of them; the first, third and fourth of five."""
    clips = training.data.split("train")
    assert [clip.frames for clip in training.data.prior] == [11, 11, 7]
    for number, (prior, model) in enumerate(
        zip(training.data.prior, [clips[0], clips[1], clips[3]], strict=True)
    ):
        assert prior.clip.split == PRIOR and prior.clip.text == model.clip.text.replace("fast ", "")
        request = Request(
            prior.clip.text,
            prior.frames * tiny_base.samples_per_latent / tiny_base.sample_rate,
            seed=number,
            steps=50,
            guidance=1.0,
            seconds_total=math.ceil(model.clip.seconds),
        )
        played = sample_latents(tiny_base, tiny_base.encode_prompt(prior.clip.text), request)[0]
        torch.testing.assert_close(prior.latents(), played)


def test_what_was_played_before_is_not_played_again(
    recipe: Recipe, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.prior.sample_latents", None)
    again = prepare(training.run.with_name("other"), replace(recipe, name="other"))
    assert [clip.file for clip in again.data.prior] == [clip.file for clip in training.data.prior]


def test_the_adapter_is_absent_while_the_base_plays(
    tiny_base_folder: Path, recipe: Recipe, training: Training, tmp_path: Path
) -> None:
    """A run that goes on from a trained adapter hears the same prior, to the last bit."""
    trained = train(replace(recipe, name="first")).run / "adapter"
    settings = SETTINGS | {"adapter__init_from": str(trained)}
    later = prepare(
        tmp_path / "elsewhere" / "tiny",
        make_recipe(tiny_base_folder, Path(recipe.data.dataset), tmp_path / "elsewhere", **settings),
    )
    assert any((w != 0).any() for name, w in later.adapter.named_parameters().items() if "lora_B" in name)
    for one, other in zip(training.data.prior, later.data.prior, strict=True):
        assert one.file != other.file and torch.equal(one.latents(), other.latents())
    batch = later.batches.of_step(1)[0]
    with torch.no_grad():
        adapted = batch_loss(later.base, batch)
        with later.adapter.absent():
            assert batch_loss(later.base, batch) != adapted
        assert batch_loss(later.base, batch) == adapted
    assert all(weight.requires_grad for weight in later.adapter.parameters())


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9])
def test_its_share_is_spread_evenly_and_every_recording_still_comes_once_an_epoch(
    training: Training, share: float
) -> None:
    recipe = training.recipe
    batches = replace(
        training.batches, recipe=replace(recipe, training=replace(recipe.training, prior_share=share))
    )
    plain = replace(batches, recipe=replace(recipe, training=replace(recipe.training, prior_share=0.0)))
    marks = [of_prior(batches, number) for number in range(40)]
    for count in range(1, 41):
        assert sum(marks[:count]) == math.floor(count * share)
    recordings = [batches._clips(number) for number in range(40) if not marks[number]]
    assert recordings == [plain._clips(number) for number in range(len(recordings))]


def test_it_counts_by_its_weight(training: Training) -> None:
    recipe = training.recipe
    heavy = replace(
        training.batches, recipe=replace(recipe, training=replace(recipe.training, prior_weight=3.0))
    )
    number = next(number for number in range(9) if of_prior(training.batches, number))
    one, three = (batches.of_step(number + 1)[0] for batches in (training.batches, heavy))
    assert torch.equal(one.noise, three.noise)
    with torch.no_grad():
        assert batch_loss(training.base, three) == pytest.approx(3 * float(batch_loss(training.base, one)))
    others = heavy.of_step(next(n for n in range(9) if not of_prior(heavy, n)) + 1)
    assert others[0].weight == 1


def test_prompts_of_ones_own_are_played_in_turn(recipe: Recipe, training: Training) -> None:
    asked = replace(recipe, training=replace(recipe.training, prior_prompts=["dry kick", "snare"]))
    assert prior_prompts(asked, []) == ["dry kick", "snare", "dry kick"]
    none = replace(recipe, training=replace(recipe.training, prior_share=0.0))
    assert prior_prompts(none, [clip.clip for clip in training.data.clips]) == []


def test_few_recordings_lend_their_lengths_again_and_again(tiny_base_folder: Path, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "few", [0.5, 0.3], [])
    recipe = make_recipe(tiny_base_folder, dataset, tmp_path / "runs", **SETTINGS)
    assert [clip.frames for clip in prepare(tmp_path / "runs" / "tiny", recipe).data.prior] == [11, 7, 11]
