"""A base cut over processes computes what a whole one does, to the last bit, and takes less memory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from finetune.recipe import to_yaml
from finetune.tracking import read_log
from tests.finetune.conftest import make_recipe, write_dataset

SETTINGS: dict[str, Any] = {
    "training__steps": 6,
    "training__gradient_accumulation": 2,
    "training__loader_workers": 1,
    "training__gradient_checkpointing": "on",
    "training__prior_share": 0.3,
    "training__prior_clips": 1,
    "training__prior_prompts": ["slow hat"],
    "adapter__kind": "dora",
    "adapter__dropout": 0.1,
    "validation__every": 3,
    "samples__every": 3,
}
CASES, FACTS = 5, 10  # of sharding_child


@pytest.fixture(scope="module")
def runs(deep_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the facts of two processes, and a run of theirs with a whole base, `two`, and a `sharded` one."""
    root = tmp_path_factory.mktemp("sharding")
    dataset = write_dataset(root / "dataset", [0.5, 0.5, 0.5, 0.3, 0.8], [0.5, 0.4])
    names = ("two", "sharded")
    recipes = [
        make_recipe(
            deep_base_folder, dataset, root / name, **SETTINGS, name=name, base__shard=name == "sharded"
        )
        for name in names
    ]
    for name, recipe in zip(names, recipes, strict=True):
        (root / f"{name}.yaml").write_text(to_yaml(recipe))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [port, deep_base_folder, root, root / "two.yaml", root / "sharded.yaml"]
    command = [sys.executable, "-m", "tests.finetune.sharding_child", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return root


def adapter_of(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize("rank", [0, 1])
def test_a_sharded_base_computes_the_same_bits(runs: Path, rank: int) -> None:
    """In float32 and packed, LoRA and DoRA, kept and computed again, in steps, without gradients, and in passes that
    one process does while the other lends it its parts; and it holds its part and two blocks."""
    cases = json.loads((runs / f"{rank}.json").read_text())
    assert [len(facts) for facts in cases.values()] == [FACTS] * CASES
    assert not [(case, fact) for case, facts in cases.items() for fact, holds in facts.items() if not holds]


def test_a_run_is_the_same_with_a_sharded_base(runs: Path) -> None:
    two, sharded = runs / "two" / "two", runs / "sharded" / "sharded"
    one, other = adapter_of(two), adapter_of(sharded)
    assert all(torch.equal(one[name], other[name]) for name in one)
    rows, others = ([{**row, "steps_per_second": 0} for row in read_log(run)] for run in (two, sharded))
    assert rows == others
    heard = [path.relative_to(two) for path in sorted(two.glob("samples/*/*.wav"))]
    assert len(heard) == 3
    assert all((two / path).read_bytes() == (sharded / path).read_bytes() for path in heard)
