"""Several processes train the very run that one trains, each with the whole base or with a part of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data_prep.dataset import read_audio
from finetune.advice import smaller
from finetune.errors import WoodshedError
from finetune.memory import available
from finetune.plan_command import plan
from finetune.processes import make_accelerator
from finetune.recipe import Recipe, to_yaml
from finetune.tracking import read_log
from finetune.trainer import train
from tests.finetune.conftest import free_port, make_recipe

LAUNCH = "accelerate.commands.launch"
SETTINGS: dict[str, Any] = {
    "training__steps": 20,
    "training__gradient_accumulation": 2,
    "training__checkpoint_every": 10,
    "training__loader_workers": 1,
    "training__prior_share": 0.3,
    "training__prior_clips": 1,
    "training__prior_prompts": ["slow hat"],
    "adapter__dropout": 0.1,
    "optimizer__name": "adamw8bit",
    "validation__every": 10,
    "samples__every": 10,
}


def launch(processes: int, *words: object) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        LAUNCH,
        "--multi_gpu",
        "--num_processes",
        str(processes),
    ]  # --cpu starts one
    command += ["--main_process_port", str(free_port()), "--num_machines", "1", "--mixed_precision", "no"]
    command += ["--dynamo_backend", "no", "-m", "finetune", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def adapter_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def test_two_processes_train_the_run_that_one_trains(
    deep_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    """The first half with whole bases, the second half with parts."""
    recipe = make_recipe(deep_base_folder, dataset, tmp_path / "one", **SETTINGS)
    one = train(recipe).run
    (tmp_path / "two.yaml").write_text(to_yaml(recipe))
    two = tmp_path / "two" / "tiny"
    begun = launch(
        2, "train", tmp_path / "two.yaml", f"output.root={two.parent}", "training.steps=10", "--json"
    )
    ended = launch(2, "resume", two, "training.steps=20", "base.shard=true", "--json")
    for done in (begun, ended):
        assert done.returncode == 0, done.stderr
        assert "2 processes share each step" in done.stderr
        (line,) = done.stdout.strip().splitlines()  # one of them speaks
        assert Path(json.loads(line)["run"]) == two
    ones, twos = adapter_of(one), adapter_of(two)
    assert max(float((ones[key] - twos[key]).abs().max()) for key in ones) <= 1e-5
    numbers = ("step", "loss", "gradient_norm", "held_out_loss")
    logs = [[{key: row[key] for key in numbers if key in row} for row in read_log(run)] for run in (one, two)]
    for first, second in zip(*logs, strict=True):
        assert second == pytest.approx(first, rel=1e-4)
    sounds = [[read_audio(path) for path in sorted(run.glob("samples/*/*.wav"))] for run in (one, two)]
    assert len(sounds[0]) == 3
    for heard, other in zip(*sounds, strict=True):
        np.testing.assert_allclose(other, heard, atol=1e-4)


def test_a_step_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(WoodshedError, match=r"gradient_accumulation is 6, .*4 processes.*Set it to 8"):
        make_accelerator(cpu=True, passes=6)


def test_several_processes_are_told_of_sharding(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("base.shard" in changes for _, changes in smaller(recipe, gpu=True))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert any("base.shard" in changes for _, changes in smaller(recipe, gpu=True))


def test_memory_of_a_machine_is_shared_by_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = available(torch.device("cpu"))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert available(torch.device("cpu")) == pytest.approx(alone / 4, rel=0.2)


def test_a_fitting_recipe_is_sought_by_one_process(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(WoodshedError, match="--fit measures recipes in processes of its own"):
        plan(tmp_path / "recipe.yaml", fit="8GB")
