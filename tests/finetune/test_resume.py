"""A run that was stopped and resumed equals one that was never stopped; what would change it is refused or forked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from child import end_of, start
from conftest import make_recipe, write_dataset
from safetensors.torch import load_file

from finetune.adapter import read_card
from finetune.adapter.formats import read_facts
from finetune.checkpoint import checkpoint_folders, step_of
from finetune.cli import main
from finetune.errors import WoodshedError
from finetune.recipe import Recipe, differing_keys, load_recipe, to_yaml
from finetune.run_folder import recipe_hash, write_recipe
from finetune.tracking import read_log
from finetune.trainer import RunResult, fork, resume, train


@pytest.fixture
def recipe(tiny_base_folder: Path, dataset: Path, tmp_path: Path) -> Recipe:
    return make_recipe(tiny_base_folder, dataset, tmp_path / "runs", samples__every=0)


@pytest.fixture(scope="module")
def one_run(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A finished run of six steps, trained once."""
    folder = tmp_path_factory.mktemp("one run")
    data = write_dataset(folder / "dataset", [0.5, 0.5, 0.5, 0.3, 0.8], [0.5, 0.4])
    return train(make_recipe(tiny_base_folder, data, folder / "runs", samples__every=0))


@pytest.fixture
def finished(one_run: RunResult, tmp_path: Path) -> Path:
    """A copy of it, to do with as one likes, beside a copy of its cache."""
    shutil.copytree(one_run.run.parent, tmp_path / "finished")
    return tmp_path / "finished" / "tiny"


def wait_for_step(child: int, run: Path, step: int) -> None:
    until = time.monotonic() + 120
    while not any(row["step"] >= step for row in read_log(run)):
        assert end_of(child, 0) is None and time.monotonic() < until
        time.sleep(0.01)


def without_times(run: Path) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key != "steps_per_second"} for row in read_log(run)]


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_signals_save_and_stop_and_resume_goes_on(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGUSR1 saves and goes on, Ctrl-C saves and stops with exit code 130; the rest is the unbroken run's."""
    settings = {
        "training__steps": 60,
        "training__checkpoint_every": 100,
        "validation__every": 100,
        "samples__every": 0,
    }
    unbroken = train(make_recipe(tiny_base_folder, dataset, tmp_path / "unbroken", **settings)).run
    recipe, run = (
        make_recipe(tiny_base_folder, dataset, tmp_path / "stopped", **settings),
        tmp_path / "stopped/tiny",
    )
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["woodshed", "train", str(tmp_path / "recipe.yaml"), "--json"])
    child = start(main, tmp_path / "words")
    wait_for_step(child, run, 2)
    os.kill(child, signal.SIGUSR1)
    wait_for_step(child, run, 6)
    (saved,) = map(step_of, checkpoint_folders(run))
    os.kill(child, signal.SIGINT)
    status = end_of(child, 60)
    assert status is not None and os.waitstatus_to_exitcode(status) == 130
    words = (tmp_path / "words").read_text()
    (printed,) = [line for line in words.splitlines() if line.startswith("{")]
    result = json.loads(printed)
    assert (result["ok"], result["status"]) == (True, "stopped")
    assert f"Saved after step {saved}." in words and f"woodshed resume {run}" in words
    step = read_log(run)[-1]["step"]
    assert 2 <= saved < step == result["step"] < 60
    assert [step_of(folder) for folder in checkpoint_folders(run)] == [step, saved]
    assert resume(run, []).status == "finished"
    assert without_times(unbroken) == without_times(run)
    assert_same_weights(
        unbroken / "adapter/adapter_model.safetensors", run / "adapter/adapter_model.safetensors"
    )


def test_more_steps_equal_a_longer_run(finished: Path, one_run: RunResult, tiny_base_folder: Path) -> None:
    run = finished
    longer = resume(run, ["training.steps=9"])
    assert longer.step == 9
    elsewhere = run.parent.parent / "elsewhere"
    whole = train(
        make_recipe(
            tiny_base_folder,
            one_run.run.parents[1] / "dataset",
            elsewhere,
            training__steps=9,
            samples__every=0,
        )
    ).run
    assert_same_weights(
        run / "adapter/adapter_model.safetensors", whole / "adapter/adapter_model.safetensors"
    )
    assert "steps: 9" in (run / "recipe.yaml").read_text()


def test_a_damaged_checkpoint_is_passed_over(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = finished
    before = load_file(run / "adapter/adapter_model.safetensors")
    file = run / "checkpoints/step-000006/optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    resume(run, [])
    assert "step-000006 is damaged (optimizer.safetensors is not what was written)" in capsys.readouterr().err
    after = load_file(run / "adapter/adapter_model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_killed_before_its_first_checkpoint_begins_again(finished: Path) -> None:
    run = finished
    before = without_times(run)
    shutil.rmtree(run / "checkpoints")
    resume(run, [])
    assert without_times(run) == before


def test_a_run_killed_before_its_recipe_was_written_is_no_run(recipe: Recipe) -> None:
    run = Path(recipe.output.root) / recipe.name
    run.mkdir(parents=True)
    (run / ".recipe.yaml.part-0123abcd").write_text("name: ti")
    assert train(recipe).status == "finished"
    assert not list(run.rglob(".*part-*"))


def test_what_would_change_the_run_is_refused(recipe: Recipe, dataset: Path) -> None:
    run = train(recipe).run
    with pytest.raises(WoodshedError, match=r"adapter.rank \(began with 4, now 8\), optimizer.learning_rate"):
        resume(run, ["adapter.rank=8", "optimizer.learning_rate=0.1", "samples.every=3"])
    with pytest.raises(WoodshedError, match=rf"woodshed resume {run} validation.clips=1 --fork NAME"):
        resume(run, ["validation.clips=1"])
    with pytest.raises(WoodshedError, match="has done 6 already"):
        resume(run, ["training.steps=3"])
    with pytest.raises(WoodshedError, match="There is no run"):
        resume(run / "nowhere", [])
    with pytest.raises(WoodshedError, match=f"woodshed resume {run}"):
        train(recipe)
    manifest = dataset / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace("slow hat", "fast hat"), encoding="utf-8")
    with pytest.raises(WoodshedError, match="The dataset is not the one this run began with"):
        resume(run, [])


def test_a_cosine_run_keeps_its_length(tiny_base_folder: Path, dataset: Path, tmp_path: Path) -> None:
    write_recipe(
        tmp_path / "run", make_recipe(tiny_base_folder, dataset, tmp_path, optimizer__schedule="cosine")
    )
    with pytest.raises(WoodshedError, match=r"training.steps \(began with 6, now 9\)"):
        resume(tmp_path / "run", ["training.steps=9"])


def test_a_run_goes_on_in_another_place(recipe: Recipe, dataset: Path, tiny_base_folder: Path) -> None:
    """As on another machine: run, dataset and base lie elsewhere, and nothing is left where they were."""
    run = train(recipe).run
    away = run.parent.parent / "another machine"
    away.mkdir()
    shutil.copytree(tiny_base_folder, away / "base")
    dataset.rename(away / "dataset")
    run.parent.rename(away / "runs")
    here = away / "runs" / "tiny"
    with pytest.raises(WoodshedError, match="there is no folder"):
        resume(here, [])
    moved = [f"data.dataset={away / 'dataset'}", f"base.model={away / 'base'}", "training.steps=9"]
    result = resume(here, moved)
    assert (result.run, result.step) == (here, 9) and not run.parent.exists()
    written = load_recipe(here / "recipe.yaml", [])
    assert written.output.root == str(away / "runs") and written.base.model == str(away / "base")


def test_the_adapter_it_began_with_may_be_gone(
    finished: Path, tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    settings = {"adapter__init_from": str(finished), "training__steps": 2, "samples__every": 0}
    run = train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs", **settings)).run
    shutil.rmtree(finished)
    assert resume(run, ["training.steps=4"]).step == 4


def test_what_would_change_the_run_is_a_new_run(
    finished: Path, one_run: RunResult, capsys: pytest.CaptureFixture[str]
) -> None:
    """It begins in the state of its parent, measures that first, and says whose child it is."""
    parent = replace(one_run, run=finished)
    changes = ["optimizer.learning_rate=0.001", "training.steps=9", "optimizer.name=adamw"]
    child = fork(parent.run, "gentle", changes)
    assert child.run == parent.run.parent / "gentle" and (child.status, child.step) == ("finished", 9)
    rows = read_log(child.run)
    assert [row["step"] for row in rows if "held_out_loss" in row] == [6, 9]
    assert [row["step"] for row in rows if "loss" in row] == [7, 8, 9]
    assert rows[0]["held_out_loss"] == parent.held_out_loss_after == child.held_out_loss_before
    card = read_card(child.adapter)["parent"]
    assert card == {
        "name": "tiny",
        "step": 6,
        "recipe_sha256": recipe_hash(load_recipe(finished / "recipe.yaml", [])),
        "parent": None,
    }
    assert json.loads((child.run / "parent.json").read_text()) == card
    assert read_facts(child.adapter)["parent"] == "tiny, step 6"
    assert "adamw begins anew" in capsys.readouterr().err
    written = load_recipe(child.run / "recipe.yaml", [])
    assert differing_keys(load_recipe(parent.run / "recipe.yaml", []), written) == [
        "name", "training.steps", "optimizer.name", "optimizer.learning_rate", "output.root",
    ]  # fmt: skip
    grandchild = fork(child.run, "gentler", ["training.steps=10"])
    assert read_card(grandchild.adapter)["parent"]["parent"] == card


def test_a_fork_resumes_like_any_run(finished: Path) -> None:
    """Even where it was killed before its own first checkpoint."""
    parent = finished
    whole = fork(parent, "whole", ["training.steps=9", "training.checkpoint_every=100"]).run
    killed = fork(parent, "killed", ["training.steps=9", "training.checkpoint_every=100"]).run
    shutil.rmtree(killed / "checkpoints/step-000009")
    shutil.rmtree(killed / "adapter")
    assert [step_of(folder) for folder in checkpoint_folders(killed)] == [6]
    assert resume(killed, []).step == 9
    assert without_times(whole) == without_times(killed)
    for file in ("adapter/adapter_model", "best/adapter_model", "checkpoints/step-000009/optimizer"):
        assert_same_weights(whole / f"{file}.safetensors", killed / f"{file}.safetensors")
    shutil.rmtree(killed / "checkpoints")
    with pytest.raises(WoodshedError, match="lost the checkpoint of 'tiny' that it began with"):
        resume(killed, [])


def test_what_a_fork_cannot_be(finished: Path) -> None:
    run = finished
    with pytest.raises(WoodshedError, match="The adapter does not fit"):
        fork(run, "wider", ["adapter.rank=8"])
    with pytest.raises(WoodshedError, match="has done 6 already"):
        fork(run, "shorter", ["training.steps=3"])
    with pytest.raises(WoodshedError, match="There is a run in"):
        fork(run, "tiny", [])
    with pytest.raises(WoodshedError, match=r"name is '\.\./up' and names a folder"):
        fork(run, "../up", [])
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(WoodshedError, match="has no checkpoint to go on from"):
        fork(run, "late", [])
    assert [path.name for path in run.parent.iterdir() if not path.name.startswith(".")] == ["tiny"]
