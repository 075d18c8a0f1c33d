"""The log; for Weights & Biases see test_wandb.py."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

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
