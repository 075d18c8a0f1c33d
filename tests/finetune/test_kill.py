"""kill -9, a full disk: whatever a run was doing, it ends in the adapter of the unbroken run, to the last bit."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from child import end_of, start
from conftest import make_recipe, write_dataset
from safetensors.torch import load_file

from finetune.checkpoint import checkpoint_folders, latest_checkpoint
from finetune.errors import WoodshedError
from finetune.recipe import Recipe
from finetune.tracking import read_log
from finetune.trainer import resume, train

# 8-bit state (it needs 4096 weights), dropout, accumulation, drawn captions, batches ahead: all that has a memory.
HARD = {
    "adapter__rank": 32,
    "adapter__dropout": 0.2,
    "adapter__duration_embedder": True,
    "optimizer__name": "adamw8bit",
    "training__gradient_accumulation": 2,
    "training__loader_workers": 2,
    "data__captions": "varied",
    "training__steps": 14,
    "training__checkpoint_every": 4,
    "validation__every": 5,
}
STEPS, EVERY = 14, 4
CLOCKS = ("log.jsonl", "recipe.yaml", "statement.dsse.json")  # hold a time of the clock, or the folder


class Unbroken:
    """A run that was never stopped, how long it took, and how often it waited for the disk."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.base, self.folder = base, folder
        self.dataset = write_dataset(folder / "dataset", [0.5, 0.5, 0.5, 0.3, 0.8], [0.5, 0.4])
        with pytest.MonkeyPatch.context() as patch:
            writes: list[int] = []
            fsync = os.fsync
            patch.setattr(os, "fsync", lambda file: (writes.append(1), fsync(file))[1])
            began = time.monotonic()
            self.run = train(self.recipe(folder / "unbroken")).run
        self.seconds, self.writes = time.monotonic() - began, len(writes)

    def recipe(self, root: Path) -> Recipe:
        return make_recipe(self.base, self.dataset, root, **HARD)


@pytest.fixture(scope="module")
def unbroken(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    return Unbroken(tiny_base_folder, tmp_path_factory.mktemp("unbroken"))


def killed(work: Callable[[], object], draw: random.Random, unbroken: Unbroken) -> None:
    """Do `work` and kill it: at some moment, or around one of its writes."""
    while True:
        at_write = draw.randint(1, unbroken.writes) if draw.random() < 0.5 else 0
        before = draw.random() < 0.5

        def count_and_die(at_write: int = at_write, before: bool = before) -> None:
            fsync, writes = os.fsync, 0

            def counted(file: int) -> None:
                nonlocal writes
                writes += 1
                if not (before and writes == at_write):
                    fsync(file)
                if writes == at_write:
                    os.kill(os.getpid(), signal.SIGKILL)

            os.fsync = counted
            work()

        child = start(count_and_die)
        status = end_of(child, 600 if at_write else draw.uniform(0, unbroken.seconds))
        if status is None:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return


def started_or_resumed(recipe: Recipe) -> Path:
    """The run of `recipe`, trained to its end from wherever it is."""
    run = Path(recipe.output.root) / recipe.name
    return resume(run, []).run if (run / "recipe.yaml").exists() else train(recipe).run


def without_times(run: Path) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key != "steps_per_second"} for row in read_log(run)]


def assert_same_run(one: Path, other: Path) -> None:
    last = f"checkpoints/step-{STEPS:06}"
    state = load_file(one / last / "optimizer.safetensors")
    assert any(tensor.dtype == torch.uint8 for name, tensor in state.items() if name.endswith("state1"))
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    assert sorted(files) == sorted(p.relative_to(other) for p in other.rglob("*") if p.is_file())
    for file in files:
        if file.name not in CLOCKS:
            assert (one / file).read_bytes() == (other / file).read_bytes(), file
    assert without_times(one) == without_times(other)
    assert not list(other.rglob(".*part-*"))


def kill_and_resume(unbroken: Unbroken, root: Path, number: int) -> None:
    draw = random.Random(number)
    recipe = unbroken.recipe(root)
    killed(lambda: train(recipe), draw, unbroken)
    run = root / recipe.name
    reached = max((row["step"] for row in read_log(run)), default=0)
    checkpoint = latest_checkpoint(run)
    assert reached - (checkpoint.step if checkpoint else 0) <= EVERY
    if number % 3 == 0 and (run / "recipe.yaml").exists():  # some are killed a second time
        killed(lambda: resume(run, []), draw, unbroken)
    assert_same_run(unbroken.run, started_or_resumed(recipe))


@pytest.mark.parametrize("number", range(3))
def test_killed_at_a_random_moment(number: int, unbroken: Unbroken, tmp_path: Path) -> None:
    kill_and_resume(unbroken, tmp_path, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3, 28))
def test_killed_at_many_random_moments(number: int, unbroken: Unbroken, tmp_path: Path) -> None:
    kill_and_resume(unbroken, tmp_path, number)


@pytest.mark.parametrize("share", [0.2, 0.97])
def test_a_full_disk_is_a_sentence_and_nothing_is_lost(
    share: float, unbroken: Unbroken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the cache, and in the last checkpoint or the adapter."""
    fsync, writes, full_at = os.fsync, [0], round(unbroken.writes * share)

    def full(file: int) -> None:
        writes[0] += 1
        if writes[0] >= full_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    recipe = unbroken.recipe(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        WoodshedError, match=r"failed \(No space left on device\).*kept.*Make room, then go on"
    ):
        train(recipe)
    monkeypatch.setattr(os, "fsync", fsync)
    run = tmp_path / recipe.name
    assert bool(checkpoint_folders(run)) == (share > 0.5)
    assert_same_run(unbroken.run, started_or_resumed(recipe))
