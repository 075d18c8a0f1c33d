"""A plan does each part once and writes nothing; advice makes recipes smaller, and says what it costs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from finetune import plan_command
from finetune.advice import SHORTEST_CROP, as_words, smaller
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError
from finetune.fitting import BlockBytes, fitting_blocks, largest_batch
from finetune.plan import make_plan
from finetune.preparation import training_clips
from finetune.recipe import Recipe, build_recipe, load_recipe, override_entries, to_yaml
from finetune.trainer import train
from tests.finetune.conftest import make_recipe


@pytest.fixture
def command(recipe: Recipe, tmp_path: Path) -> tuple[typer.Typer, str]:
    app = typer.Typer()
    app.command()(plan_command.plan)
    file = tmp_path / "recipe.yaml"
    file.write_text(to_yaml(recipe))
    return app, str(file)


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_plan_has_every_part_and_writes_nothing(recipe: Recipe, tmp_path: Path) -> None:
    before = everything(tmp_path)
    plan = make_plan(recipe)
    assert everything(tmp_path) == before
    assert [phase.name for phase in plan.phases] == [
        "loading",
        "encoding",
        "training",
        "validation",
        "samples",
    ]
    assert plan.peak_bytes == max(phase.peak_bytes for phase in plan.phases) > 1e8
    assert plan.seconds == sum(phase.seconds for phase in plan.phases) > 0
    assert plan.fits
    assert plan.disk_bytes > 4 * plan.adapter_parameters


def test_a_plan_says_what_is_trained(recipe: Recipe) -> None:
    recipe = replace(recipe, samples=replace(recipe.samples, every=0))
    plan = make_plan(recipe)
    clips = training_clips(recipe)
    assert plan.training_clips == sum(clip.split == "train" for clip in clips)
    assert plan.precision == "float32"
    assert "samples" not in [phase.name for phase in plan.phases]
    assert plan.recomputed_blocks == 0


def test_the_largest_batch_has_no_more_clips_than_there_are(
    tiny_base: BaseModel, tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    many = make_recipe(tiny_base_folder, dataset, tmp_path, training__batch_size=64, data__length="excerpt")
    one = make_recipe(tiny_base_folder, dataset, tmp_path, training__batch_size=1, data__length="excerpt")
    clips = training_clips(many)
    trained = [clip for clip in clips if clip.split == "train"]
    size, frames = largest_batch(many, tiny_base, clips)
    assert 1 <= size <= len(trained)
    heard = (min(clip.seconds, many.data.crop_seconds) for clip in trained)
    longest = max(tiny_base.seconds_to_frames(seconds) for seconds in heard)
    assert largest_batch(one, tiny_base, clips) == (1, longest)
    assert size * frames >= longest


@pytest.mark.parametrize(("room", "wanted"), [(1e12, 0), (0, 2)])
def test_blocks_are_recomputed_where_memory_is_short(
    recipe: Recipe, tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch, room: float, wanted: int
) -> None:
    monkeypatch.setattr("finetune.fitting.available", lambda device: room)
    monkeypatch.setattr("finetune.fitting.block_bytes", lambda base, batch: BlockBytes(100, 10, 2))
    monkeypatch.setattr("finetune.fitting.adapter_bytes", lambda recipe, adapter: 0)
    assert fitting_blocks(recipe, tiny_base, None, training_clips(recipe)) == wanted  # type: ignore[arg-type]


@pytest.mark.parametrize("gpu", [True, False])
def test_advice_ends_with_the_smallest_recipe(gpu: bool, dataset: Path) -> None:
    words = [f"data.dataset={dataset}", "name=x", "optimizer.name=adamw", "training.batch_size=4"]
    recipe = build_recipe(override_entries(words), "test")
    together: dict[str, Any] = {}
    for cost, changes in smaller(recipe, gpu):
        assert cost
        together |= changes
    smallest = build_recipe(override_entries([*words, *as_words(together).split()]), "test")
    assert smallest.base.dtype == "nf4"
    assert smallest.data.crop_seconds == SHORTEST_CROP
    assert (smallest.training.batch_size, smallest.training.gradient_accumulation) == (1, 4)
    assert smallest.optimizer.name == ("pagedadamw8bit" if gpu else "adamw8bit")
    assert not list(smaller(smallest, gpu))


def test_fit_writes_the_first_recipe_that_fits(
    command: tuple[typer.Typer, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, file = command
    asked: list[list[str]] = []

    def peak(recipe: Path, changes: list[str]) -> int | None:
        asked.append(changes)
        return {1: None, 2: 900_000_000}.get(len(asked), 10)

    monkeypatch.setattr(plan_command, "_peak_of", peak)
    out = tmp_path / "small.yaml"
    done = CliRunner().invoke(
        app, [file, "--fit", "1KB", "--out", str(out), "--json"], catch_exceptions=False
    )
    figures = json.loads(done.stdout)
    assert not figures["fits"]
    assert figures["fitting"]["peak_bytes"] == 10
    assert len(asked) == 3
    written = load_recipe(out, [])
    assert written.base.dtype == figures["fitting"]["changes"]["base.dtype"]


def test_out_of_memory_is_an_answer(
    command: tuple[typer.Typer, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, file = command

    def explode(recipe: Recipe) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("finetune.plan.make_plan", explode)
    monkeypatch.setattr(plan_command, "_peak_of", lambda recipe, changes: None)
    done = CliRunner().invoke(app, [file], catch_exceptions=False)
    assert done.exit_code == 1


def test_the_peak_comes_from_a_process_of_its_own(command: tuple[typer.Typer, str]) -> None:
    peak = plan_command._peak_of(Path(command[1]), ["adapter.rank=2", "samples.every=0"])
    assert peak is not None
    assert peak > 1e8


@pytest.mark.parametrize(("words", "size"), [("8GB", 8e9), ("500 mb", 5e8), ("1.5g", 1.5e9), ("7", 7)])
def test_sizes_are_read(words: str, size: float) -> None:
    assert plan_command._bytes(words) == size


@pytest.mark.parametrize("words", ["", "GB", "8XB", "1.2.3GB", "-1GB"])
def test_what_is_no_size_is_refused(words: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no size"):
        plan_command._bytes(words)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError, MemoryError, RuntimeError("can't allocate memory: 9 GB")]
)
def test_too_little_memory_while_training_is_a_sentence_with_advice(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def explode(*_: object) -> None:
        raise error

    monkeypatch.setattr("finetune.trainer.batch_loss", explode)
    with pytest.raises(
        WoodshedError, match=r"not enough memory.*base\.dtype=bfloat16.*checkpointing=on.*plan RECIPE"
    ):
        train(recipe)


def test_another_error_stays_what_it_is(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr("finetune.trainer.batch_loss", explode)
    with pytest.raises(RuntimeError, match="something else"):
        train(recipe)
