"""Sweeps: what a grid is, that it goes on where it stopped, and what is told of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import recipe_settings
from hypothesis import given
from hypothesis import strategies as st

from finetune import sweep
from finetune.checkpoint import checkpoint_folders, step_of
from finetune.cli import main
from finetune.errors import WoodshedError
from finetune.failures import Diverged
from finetune.recipe import load_recipe
from finetune.run_folder import recipe_of
from finetune.sweep import grid, run_sweep, split_values, wandb_sweep
from finetune.tracking import read_log
from finetune.trainer import resume


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("8,16,32", ["8", "16", "32"]),
        ("8", ["8"]),
        ("[0.9,0.95],[0.9, 0.99]", ["[0.9,0.95]", "[0.9, 0.99]"]),
        ("'a, b',\"c,d\",e", ["'a, b'", '"c,d"', "e"]),
        ("8,", ["8", ""]),
    ],
)
def test_commas_part_values_but_not_lists(text: str, values: list[str]) -> None:
    assert split_values(text) == values


@given(st.lists(st.sampled_from(["1", "a b", "[1,2]", "'x,y'", "[[1,2],3]"]), min_size=1))
def test_what_was_joined_is_parted(values: list[str]) -> None:
    assert split_values(",".join(values)) == values


def test_a_grid_is_every_combination() -> None:
    points = grid(["adapter.rank=8,16", "training.steps=3", "optimizer.betas=[0.9,0.95],[0.9,0.99]"])
    assert [point.name for point in points] == [
        "rank-8_betas-0.9-0.95",
        "rank-8_betas-0.9-0.99",
        "rank-16_betas-0.9-0.95",
        "rank-16_betas-0.9-0.99",
    ]
    assert points[3].values == {"adapter.rank": "16", "optimizer.betas": "[0.9,0.99]"}
    assert points[3].overrides == ["adapter.rank=16", "training.steps=3", "optimizer.betas=[0.9,0.99]"]


def test_names_tell_runs_apart() -> None:
    point = grid(["samples.steps=1,2", "training.steps=3,4"])[0]
    assert point.name == "samples.steps-1_training.steps-3"
    assert [point.name for point in grid(["adapter.kind=a+b,a-b"])] == ["1_kind-a-b", "2_kind-a-b"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "needs a key with several values"),
        (["adapter.rank=8"], "needs a key with several values"),
        (["adapter.rank=8,,16"], "a value is missing, or there twice"),
        (["adapter.rank=8,16,8"], "a value is missing, or there twice"),
        (["name=a,b"], "name cannot be swept"),
    ],
)
def test_what_is_no_grid(overrides: list[str], message: str) -> None:
    with pytest.raises(WoodshedError, match=message):
        grid(overrides)


@pytest.fixture
def file(tiny_base_folder: Path, dataset: Path, tmp_path: Path) -> Path:
    settings = recipe_settings(tiny_base_folder, dataset, tmp_path / "runs")
    settings |= {
        "training.steps": 3,
        "validation.every": 2,
        "samples.every": 0,
        "training.checkpoint_every": 1,
    }
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        group, _, name = key.rpartition(".")
        (tree.setdefault(group, {}) if group else tree)[name] = value
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return tmp_path / "recipe.yaml"


RANKS = ["adapter.rank=2,4,8"]


def test_a_sweep_trains_compares_and_trains_nothing_twice(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["woodshed", "train", str(file), *RANKS, "--sweep", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    first = json.loads(capsys.readouterr().out)
    assert first["ok"] and first["status"] == "finished" and first["folder"] == str(tmp_path / "runs/tiny")
    assert {run["name"] for run in first["runs"]} == {"rank-2", "rank-4", "rank-8"}
    losses = [run["best_held_out_loss"] for run in first["runs"]]
    assert losses == sorted(losses) and len(set(losses)) == 3
    for run in first["runs"]:
        assert (run["status"], run["step"]) == ("finished", 3)
        assert str(recipe_of(Path(run["run"])).adapter.rank) == run["values"]["adapter.rank"]
        assert run["best_held_out_loss"] == min(
            row["held_out_loss"] for row in read_log(Path(run["run"]))[1:] if "held_out_loss" in row
        )
    monkeypatch.setattr(sweep, "train", None)
    monkeypatch.setattr(sweep, "resume", None)
    monkeypatch.setattr(sys, "argv", ["woodshed", "train", str(file), *RANKS, "--sweep"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    table = capsys.readouterr().err
    assert [line.split()[0] for line in table.splitlines() if line.rstrip().endswith("finished")] == [
        run["values"]["adapter.rank"] for run in first["runs"]
    ]
    with pytest.raises(WoodshedError, match=r"begun with another recipe \(seed differ\).*name=tiny-2"):
        run_sweep(file, [*RANKS, "seed=1"])


def test_a_stopped_sweep_goes_on_where_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run diverges, which does not stop the others; Ctrl-C comes in the middle of the third."""
    train, trained = sweep.train, []

    def eventful(recipe: Any) -> Any:
        trained.append(recipe.name)
        if recipe.name == "rank-4":
            raise Diverged("it went away")
        if recipe.name == "rank-8":
            recipe.training.steps = 2
        result = train(recipe)
        if recipe.name == "rank-8":
            object.__setattr__(result, "status", "stopped")
        return result

    monkeypatch.setattr(sweep, "train", eventful)
    stopped = run_sweep(file, [*RANKS, "validation.patience=9"])
    assert stopped.status == "stopped" and trained == ["rank-2", "rank-4", "rank-8"]
    assert {run.name: run.status for run in stopped.runs} == {
        "rank-2": "finished",
        "rank-4": "diverged",
        "rank-8": "stopped",
    }
    assert stopped.runs[-1].best_held_out_loss is None
    resumed = []
    monkeypatch.setattr(sweep, "resume", lambda run, free: (resumed.append(run.name), resume(run, free))[1])
    monkeypatch.setattr(sweep, "train", train)
    done = run_sweep(file, [*RANKS, "validation.patience=8", "training.steps=3"])
    assert done.status == "finished" and {run.status for run in done.runs} == {"finished"}
    assert resumed == ["rank-8"]
    assert step_of(checkpoint_folders(done.folder / "rank-8")[0]) == 3


def test_every_recipe_is_checked_before_the_first_run(file: Path, tmp_path: Path) -> None:
    with pytest.raises(WoodshedError, match=r"adapter.rank is 0 and must be at least 1"):
        run_sweep(file, ["adapter.rank=4,0"])
    assert not (tmp_path / "runs").exists()
    with pytest.raises(WoodshedError, match=r"adapter.rank is '4,8' and must be a whole number"):
        load_recipe(file, ["adapter.rank=4,8"])


def test_the_sweep_of_weights_and_biases(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own client turns the file into commands that are recipes, each with a name of its own."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    given = ["adapter.rank=8,16", "optimizer.betas=[0.9,0.95],[0.9,0.99]", "adapter.alpha=null,4", "seed=7"]
    words = ["woodshed", "train", str(file), *given, "--wandb-sweep", str(tmp_path / "sweep.yaml")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code and "wandb sweep" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
    written = yaml.safe_load((tmp_path / "sweep.yaml").read_text())
    assert written == yaml.safe_load(wandb_sweep(file, given))
    assert written["metric"] == {"name": "held_out_loss", "goal": "minimize"}
    assert written["command"][:3] == ["woodshed", "train", str(file)]
    chosen = {key: {"value": each["values"][-2]} for key, each in written["parameters"].items()}
    overrides = create_sweep_command_args({"args": chosen})["args_no_hyphens"]
    recipe = load_recipe(file, [*written["command"][3:-1], *overrides])
    assert (recipe.adapter.rank, recipe.optimizer.betas, recipe.adapter.alpha) == (8, [0.9, 0.95], None)
    assert recipe.seed == 7 and recipe.tracking.wandb == "online"

    monkeypatch.setenv("WANDB_SWEEP_ID", "s1")
    monkeypatch.setenv("WANDB_RUN_ID", "r1")
    monkeypatch.setattr(sys, "argv", ["woodshed", "train", str(file), "training.steps=1", "--json"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out)["run"] == str(tmp_path / "runs" / "tiny-r1")
