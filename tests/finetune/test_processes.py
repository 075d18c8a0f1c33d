"""Several processes train the very run that one trains: gradients are added in the order of the passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetune.errors import WoodshedError
from finetune.processes import make_accelerator
from finetune.recipe import to_yaml
from finetune.tracking import read_log
from tests.finetune.conftest import make_recipe

LAUNCH = "accelerate.commands.launch"
SETTINGS: dict[str, Any] = {
    "training__steps": 20,
    "training__gradient_accumulation": 2,
    "training__checkpoint_every": 10,
    "training__loader_workers": 1,
    "adapter__dropout": 0.1,
    "optimizer__name": "adamw8bit",
}


def launch(processes: int, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", LAUNCH, "--cpu", "--num_processes", str(processes)]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--num_cpu_threads_per_process", "1", "-m", "finetune", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def recipes(tiny_base_folder: Path, dataset: Path, tmp_path: Path) -> dict[str, Path]:
    """name → recipe: for one process and for two."""
    files = {}
    for name in ("one", "two"):
        recipe = make_recipe(tiny_base_folder, dataset, tmp_path, **SETTINGS, name=name)
        files[name] = tmp_path / f"{name}.yaml"
        files[name].write_text(to_yaml(recipe))
    return files


def adapter_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def test_two_processes_train_the_run_that_one_trains(recipes: dict[str, Path], tmp_path: Path) -> None:
    runs = {}
    for processes, name in ((1, "one"), (2, "two")):
        done = launch(processes, "train", recipes[name], "--json")
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.strip().splitlines()  # one of them speaks
        runs[name] = Path(json.loads(line)["run"])
    one, two = (adapter_of(runs[name]) for name in ("one", "two"))
    assert max(float((one[key] - two[key]).abs().max()) for key in one) <= 1e-5
    logs = [
        [{key: row[key] for key in ("step", "loss", "gradient_norm") if key in row} for row in read_log(run)]
        for run in runs.values()
    ]
    assert [row["step"] for row in logs[0]] == [row["step"] for row in logs[1]]
    for first, second in zip(*logs, strict=True):
        assert second == pytest.approx(first, rel=1e-4)


def test_a_step_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(WoodshedError, match=r"gradient_accumulation is 6, .*4 processes.*Set it to 8"):
        make_accelerator(cpu=True, passes=6)
