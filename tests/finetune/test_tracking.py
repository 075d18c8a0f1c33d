"""The log and Weights & Biases (offline, with the real client)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import make_recipe

from finetune.recipe import Recipe
from finetune.tracking import read_log, tracking


def write_rows(run: Path, recipe: Recipe, step: int, steps: list[int]) -> None:
    with tracking(run, recipe, step) as log:
        for each in steps:
            log({"step": each, "loss": each / 10})
            assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"] == each


def test_rows_after_the_checkpoint_are_cut(recipe: Recipe, tmp_path: Path) -> None:
    write_rows(tmp_path, recipe, 0, [1, 2, 3, 4, 5])
    write_rows(tmp_path, recipe, 3, [4, 5, 6])
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3, 4, 5, 6]
    write_rows(tmp_path, recipe, 0, [1])
    assert [row["step"] for row in read_log(tmp_path)] == [1]


def test_a_line_cut_off_by_a_crash_is_left_out(recipe: Recipe, tmp_path: Path) -> None:
    write_rows(tmp_path, recipe, 0, [1, 2])
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    write_rows(tmp_path, recipe, 2, [3])
    assert read_log(tmp_path) == [{"step": step, "loss": step / 10} for step in (1, 2, 3)]


def test_off_never_loads_the_client(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it would raise
    write_rows(tmp_path, recipe, 0, [1])
    assert not (tmp_path / "wandb").exists()


def test_offline_stays_on_the_disk_under_one_id(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    recipe = make_recipe(tiny_base_folder, dataset, tmp_path, tracking__wandb="offline")
    run = tmp_path / "run"
    run.mkdir()
    write_rows(run, recipe, 0, [1, 2])
    name = (run / "wandb_id.txt").read_text()
    write_rows(run, recipe, 2, [3])
    kept = sorted(run.glob("wandb/offline-run-*/run-*.wandb"))
    assert {file.name for file in kept} == {f"run-{name}.wandb"}
    stored = b"".join(file.read_bytes() for file in kept)
    assert b"learning_rate" in stored and b"loss" in stored
    assert str(tmp_path).encode() not in stored, "a path of this machine would be sent"
