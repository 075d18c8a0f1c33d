"""Whole runs on the toy base: what comes out, what is learned, and what is said when it cannot be."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import soundfile as sf
import torch
from conftest import make_recipe, write_dataset
from omegaconf import OmegaConf
from safetensors.torch import load_file

from finetune import trainer
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError
from finetune.generate import Request
from finetune.loss import batch_loss
from finetune.preparation import prepare
from finetune.recipe import Recipe, load_recipe
from finetune.tracking import read_log
from finetune.trainer import train
from finetune.watch import verdict


def test_what_a_run_leaves(recipe: Recipe) -> None:
    result = train(recipe)
    assert (result.status, result.step) == ("finished", 6)
    run = result.run
    assert run == Path(recipe.output.root) / "tiny"
    assert sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()) == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter/statement.dsse.json",
        "best/adapter_config.json",
        "best/adapter_model.safetensors",
        "best/statement.dsse.json",
        "checkpoints/step-000004/adapter.safetensors",
        "checkpoints/step-000004/optimizer.safetensors",
        "checkpoints/step-000004/state.json",
        "checkpoints/step-000006/adapter.safetensors",
        "checkpoints/step-000006/optimizer.safetensors",
        "checkpoints/step-000006/state.json",
        "log.jsonl",
        "recipe.yaml",
        "rights.jsonl",
        "samples/step-000000/01.wav",
        "samples/step-000000/prompts.json",
        "samples/step-000006/01.wav",
        "samples/step-000006/prompts.json",
        "training_set.jsonl",
    ]
    assert load_recipe(run / "recipe.yaml", []) == replace(recipe)
    audio, rate = sf.read(run / "samples/step-000006/01.wav")
    assert audio.shape == (int(0.3 * 44100), 2) and rate == 44100
    asked = json.loads((run / "samples/step-000006/prompts.json").read_text())
    assert asked == [{"file": "01.wav", **asdict(Request("kick snare", 0.3, seed=0, steps=2))}]


def test_what_the_log_says(recipe: Recipe) -> None:
    result = train(recipe)
    rows = read_log(result.run)
    held_out = [row for row in rows if "held_out_loss" in row]
    assert [row["step"] for row in held_out] == [0, 3, 6]
    for row in held_out:
        for name in ("held_out_loss", "training_set_loss"):
            bands = row[f"{name}_bands"]
            assert list(bands) == ["0.1", "0.3", "0.5", "0.7", "0.9"]
            assert row[name] == pytest.approx(sum(bands.values()) / 5)
    assert held_out[-1]["verdict"] == verdict(held_out) == result.verdict
    trained = [row for row in rows if "loss" in row]
    assert [row["step"] for row in trained] == [1, 2, 3, 4, 5, 6]
    assert all(row["learning_rate"] == 1e-2 and row["steps_per_second"] > 0 for row in trained)
    assert result.held_out_loss_before == held_out[0]["held_out_loss"]
    assert result.held_out_loss_after == held_out[-1]["held_out_loss"] < result.held_out_loss_before


def test_the_base_is_heard_at_step_0(recipe: Recipe, tiny_base: BaseModel) -> None:
    """An adapter that has learned nothing is the base, exactly."""
    from finetune.generate import Request, generate

    run = train(recipe).run
    audio = generate(tiny_base, Request("kick snare", 0.3, seed=0, steps=2, guidance=4.0))
    heard, _ = sf.read(run / "samples/step-000000/01.wav", dtype="float32")
    assert abs(heard.T - audio).max() < 2**-22
    later, _ = sf.read(run / "samples/step-000006/01.wav", dtype="float32")
    assert abs(later - heard).max() > 1e-3


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter__kind": "dora"},
        {"base__dtype": "bfloat16", "adapter__duration_embedder": True},
        {
            "training__gradient_accumulation": 3,
            "optimizer__name": "lion8bit",
            "optimizer__learning_rate": 1e-3,
        },
        {"adapter__targets": "attention", "adapter__rank_stabilised": True, "training__inpainting": False},
        {"data__length": "excerpt", "data__captions": "canonical", "optimizer__schedule": "cosine"},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_other_ways_to_train(
    changes: dict[str, object], tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    changes = {"training__steps": 12, "training__batch_size": 3, **changes}
    result = train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs", **changes))
    assert result.held_out_loss_after is not None and result.held_out_loss_before is not None
    assert result.held_out_loss_after < result.held_out_loss_before
    state = load_file(result.run / "checkpoints/step-000012/adapter.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}


def test_accumulated_gradients_are_the_mean(tiny_base_folder: Path, dataset: Path, tmp_path: Path) -> None:
    """One AdamW step over three passes of one clip equals one step on the mean of their losses."""
    settings = {"training__steps": 1, "training__batch_size": 1, "optimizer__name": "adamw"}
    recipe = make_recipe(
        tiny_base_folder, dataset, tmp_path / "runs", training__gradient_accumulation=3, **settings
    )
    by_hand = prepare(tmp_path / "by hand", recipe)
    loss = torch.stack([batch_loss(by_hand.base, batch) for batch in by_hand.batches.of_step(1)]).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(by_hand.adapter.parameters(), recipe.training.max_gradient_norm)
    by_hand.optimizer.optimizer.step()
    run = train(recipe).run
    assert read_log(run)[1]["loss"] == pytest.approx(float(loss.detach()))
    trained = load_file(run / "checkpoints/step-000001/adapter.safetensors")
    for name, weight in by_hand.adapter.state().items():
        torch.testing.assert_close(weight, trained[name], atol=1e-6, rtol=1e-4)


def test_gradient_checkpointing_changes_memory_alone(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    one = train(make_recipe(tiny_base_folder, dataset, tmp_path / "a", adapter__dropout=0.1)).run
    settings = {"training__gradient_checkpointing": "on", "adapter__dropout": 0.1}
    other = train(make_recipe(tiny_base_folder, dataset, tmp_path / "b", **settings)).run
    first, second = (load_file(run / "adapter/adapter_model.safetensors") for run in (one, other))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_without_held_out_clips_it_says_so_once(
    tiny_base_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = write_dataset(tmp_path / "dataset", [0.5, 0.3], [])
    result = train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs", samples__prompts=[]))
    assert result.held_out_loss_before is None and result.held_out_loss_after is None
    assert not any("held_out_loss" in row for row in read_log(result.run))
    assert capsys.readouterr().err.count("No clips are held out") == 1
    asked = json.loads((result.run / "samples/step-000000/prompts.json").read_text())
    assert [each["prompt"] for each in asked] == ["fast break, kick 0.", "fast break, kick 1."]


def test_samples_can_be_left_out(tiny_base_folder: Path, dataset: Path, tmp_path: Path) -> None:
    run = train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs", samples__every=0)).run
    assert not (run / "samples").exists()


def test_a_lost_loss_stops_and_keeps_the_last_checkpoint(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def explode(base: BaseModel, batch: object) -> torch.Tensor:
        calls.append(batch)
        loss = batch_loss(base, batch)  # type: ignore[arg-type]
        return loss * float("nan") if len(calls) == 5 else loss

    monkeypatch.setattr(trainer, "batch_loss", explode)
    with pytest.raises(
        WoodshedError, match=r"The loss of step 5 is not a number.*smaller rate.*--fork tiny-2"
    ):
        train(recipe)
    run = Path(recipe.output.root) / "tiny"
    state = load_file(run / "checkpoints/step-000004/adapter.safetensors")
    assert all(tensor.isfinite().all() for tensor in state.values())
    assert read_log(run)[-1]["step"] == 4


def test_nothing_is_written_when_the_run_cannot_begin(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    recipe = make_recipe(
        tiny_base_folder,
        dataset,
        tmp_path / "runs",
        optimizer__name="pagedadamw8bit",
        data__crop_seconds=0.01,
    )
    with pytest.raises(WoodshedError) as caught:
        train(recipe)
    assert "optimizer.name: pagedadamw8bit" in str(caught.value) and "take adamw8bit" in str(caught.value)
    assert "data.crop_seconds: 0.01 is too short for this base" in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_post_trained_base_is_refused(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    folder = Path(shutil.copytree(tiny_base_folder, tmp_path / "post"))
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text('{"stochastic_sampling": true}')
    with pytest.raises(WoodshedError, match="post-trained model, made to generate in few steps"):
        train(make_recipe(folder, dataset, tmp_path / "runs"))


def test_a_full_disk_is_known_before(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from finetune import preflight

    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(WoodshedError, match=r"has 0.0 GB free and this run needs 0.2 GB"):
        train(recipe)


def test_an_empty_dataset_is_a_sentence(tiny_base_folder: Path, tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset", [], [0.5])
    with pytest.raises(WoodshedError, match="has no training clips"):
        train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs"))
    (dataset / "manifest.jsonl").unlink()
    with pytest.raises(WoodshedError, match="woodshed prep"):
        train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs"))


def test_the_saved_recipe_holds_from_anywhere(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = make_recipe(tiny_base_folder, Path("dataset"), Path("runs"), training__steps=1)
    run = train(recipe).run
    written = OmegaConf.load(run / "recipe.yaml")
    assert written.data.dataset == str(dataset) and written.output.root == str(tmp_path / "runs")


def test_a_base_that_is_only_a_name_is_named_as_it_was_written(recipe: Recipe) -> None:
    recipe.base.model = "stabilityai/stable-audio-3-small-music-base"
    with pytest.raises(WoodshedError, match=r"'stabilityai/stable-audio-3-small-music-base' could not be"):
        train(recipe)
