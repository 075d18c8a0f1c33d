"""Everything that changes what is learned, at once: it learns, and a run that stopped goes on as if it had not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import make_recipe, write_dataset
from safetensors.torch import load_file

from data_prep.dataset import clips
from finetune.adapter import load_adapter
from finetune.adapter.folder import read_state
from finetune.base_model import load_base
from finetune.errors import WoodshedError
from finetune.preflight import check_dataset
from finetune.recipe import Recipe
from finetune.tracking import read_log
from finetune.trainer import resume, train

EVERYTHING = {
    "data__crop": "bars",
    "data__captions": "composed",
    "data__trigger": "fast",
    "data__trigger_share": 0.5,
    "adapter__layers": "1",
    "adapter__dropout": 0.1,
    "training__context_loss": 0.5,
    "training__ema": 0.7,
    "training__prior_share": 0.4,
    "training__prior_clips": 2,
    "training__steps": 6,
    "optimizer__schedule": "inverse",
    "optimizer__warmup_steps": 2,
    "samples__every": 0,
}
RATES = [
    {"optimizer__lora_plus": 4.0},
    {"optimizer__name": "prodigy", "optimizer__learning_rate": 1.0, "training__max_gradient_norm": None},
]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Clips with facts, in bars of 0.25 s from 0.05 s before the second one on."""
    folder = write_dataset(tmp_path / "dataset", [0.5, 0.8, 0.9, 0.3, 0.8], [0.5])
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    fields = {"kind": "loop", "room": "dry", "pieces": ["kick", "snare"], "tempo": 240.0, "metre": "1/4"}
    known = {key: {"value": value, "source": "user", "confidence": 1.0} for key, value in fields.items()}
    for row in rows:
        row |= {"fields": known, "start_sample": 0, "sample_rate": 44100}
    recordings = [{"recording": f"take {number}.wav", "anchor_seconds": 0.05} for number in range(5)]
    for name, lines in (("manifest", rows), ("recordings", recordings)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.mark.parametrize("rates", RATES, ids=["lora_plus", "prodigy"])
def test_a_stopped_run_goes_on_bit_for_bit(
    rates: dict[str, object], tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    run = train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs", **EVERYTHING | rates)).run
    last = run / "checkpoints/step-000006"
    before = {file.name: load_file(file) for file in sorted(last.glob("*.safetensors"))}
    rows = [row["loss"] for row in read_log(run) if "loss" in row]
    shutil.rmtree(last)
    resume(run, [])
    assert list(before) == ["adapter.safetensors", "average.safetensors", "optimizer.safetensors"]
    for name, tensors in before.items():
        again = load_file(last / name)
        assert tensors.keys() == again.keys()
        assert all(torch.equal(tensors[key], again[key]) for key in tensors)
    assert [row["loss"] for row in read_log(run) if "loss" in row] == rows


def test_it_learns_and_its_adapter_is_read_back(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    settings = EVERYTHING | {"training__steps": 24, "training__checkpoint_every": 100}
    result = train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs", **settings))
    assert result.held_out_loss_after < result.held_out_loss_before
    base = load_base(str(tiny_base_folder))
    adapter = load_adapter(base, result.run)
    assert {name.split(".")[2] for name in adapter.named_parameters() if "transformer_blocks" in name} == {
        "1"
    }
    left = read_state(result.run / "adapter")
    assert all(torch.equal(weight, left[name]) for name, weight in adapter.state().items())


def test_bars_that_no_clip_knows_are_said_before_anything_is_done(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    (dataset / "recordings.jsonl").unlink()
    with pytest.raises(WoodshedError, match=r"of no clip longer than data\.crop_seconds are the bars known"):
        train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs", data__crop="bars"))
    assert not (tmp_path / "runs").exists()


def test_what_may_be_meant_otherwise_is_said(
    recipe: Recipe, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recordings = dataset / "recordings.jsonl"
    recordings.write_text(recordings.read_text().replace("take 1.wav", "another.wav"))
    group = replace(recipe.data, crop="bars", trigger="mykti")
    check_dataset(replace(recipe, data=group), clips(dataset))
    said = capsys.readouterr().err
    assert "the bars of 1 of 3 long clips are not known; they are cropped anywhere" in said
    assert "'mykti' stands in no caption of the dataset; it is put in while training" in said
    check_dataset(replace(recipe, data=replace(group, crop="random", trigger="fast")), clips(dataset))
    assert capsys.readouterr().err == ""


def test_blocks_that_the_base_has_not_are_said_before_anything_is_done(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(WoodshedError, match="no blocks 1-4 in this base; it has 0-1"):
        train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs", adapter__layers="1-4"))
    assert not (tmp_path / "runs").exists()
