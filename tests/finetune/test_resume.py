"""A run that was killed and resumed equals one that was never stopped, to the last bit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import make_recipe
from safetensors.torch import load_file

from finetune.checkpoint import checkpoint_folders, latest_checkpoint
from finetune.errors import WoodshedError
from finetune.recipe import Recipe, to_yaml
from finetune.tracking import read_log
from finetune.trainer import resume, train

TRAIN = (
    "import sys; from pathlib import Path; from finetune.recipe import load_recipe; from finetune.trainer import train;"
    "print(train(load_recipe(Path(sys.argv[1]), [])).status)"
)
# 8-bit state (it needs 4096 weights), dropout, accumulation, drawn captions: everything that has a memory.
HARD = {
    "adapter__rank": 32,
    "adapter__dropout": 0.2,
    "adapter__duration_embedder": True,
    "optimizer__name": "adamw8bit",
    "training__gradient_accumulation": 2,
    "data__captions": "varied",
    "training__steps": 14,
    "training__checkpoint_every": 4,
    "validation__every": 5,
}


def start(recipe: Recipe, folder: Path) -> subprocess.Popen[str]:
    file = folder / "recipe.yaml"
    file.write_text(to_yaml(recipe), encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", TRAIN, str(file)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def wait_for_step(process: subprocess.Popen[str], run: Path, step: int) -> None:
    until = time.monotonic() + 120
    while not any(row["step"] >= step for row in read_log(run)):
        assert process.poll() is None and time.monotonic() < until, process.communicate()[1]
        time.sleep(0.005)


def without_times(run: Path) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key != "steps_per_second"} for row in read_log(run)]


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = load_file(one), load_file(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_killed_and_resumed_is_bit_for_bit_the_unbroken_run(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    unbroken = train(make_recipe(tiny_base_folder, dataset, tmp_path / "unbroken", **HARD)).run
    killed = make_recipe(tiny_base_folder, dataset, tmp_path / "killed", **HARD)
    process = start(killed, tmp_path)
    run = tmp_path / "killed" / "tiny"
    wait_for_step(process, run, 6)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reached = read_log(run)[-1]["step"]
    assert not (run / "adapter").exists(), "it ended before it was killed"
    checkpoint = latest_checkpoint(run)
    assert checkpoint is not None and checkpoint.step <= reached < 14

    resume(run, [])

    last = "checkpoints/step-000014"
    state = load_file(run / last / "optimizer.safetensors")
    assert any(tensor.dtype == torch.uint8 for name, tensor in state.items() if name.endswith("state1"))
    assert_same_weights(unbroken / last / "adapter.safetensors", run / last / "adapter.safetensors")
    assert_same_weights(unbroken / last / "optimizer.safetensors", run / last / "optimizer.safetensors")
    assert_same_weights(
        unbroken / "adapter/adapter_model.safetensors", run / "adapter/adapter_model.safetensors"
    )
    assert without_times(unbroken) == without_times(run)
    for sound in sorted(unbroken.glob("samples/*/*.wav")):
        assert sound.read_bytes() == (run / sound.relative_to(unbroken)).read_bytes()


def test_ctrl_c_saves_and_resume_goes_on(tiny_base_folder: Path, dataset: Path, tmp_path: Path) -> None:
    settings = {"training__steps": 12, "training__checkpoint_every": 100}
    unbroken = train(make_recipe(tiny_base_folder, dataset, tmp_path / "unbroken", **settings)).run
    process = start(make_recipe(tiny_base_folder, dataset, tmp_path / "stopped", **settings), tmp_path)
    run = tmp_path / "stopped" / "tiny"
    wait_for_step(process, run, 2)
    process.send_signal(signal.SIGINT)
    printed, words = process.communicate(timeout=60)
    assert printed == "stopped\n"
    assert f"woodshed resume {run}" in words
    step = read_log(run)[-1]["step"]
    assert [folder.name for folder in checkpoint_folders(run)] == [f"step-{step:06}"]
    assert resume(run, []).status == "finished"
    assert without_times(unbroken) == without_times(run)
    assert_same_weights(
        unbroken / "adapter/adapter_model.safetensors", run / "adapter/adapter_model.safetensors"
    )


def test_more_steps_equal_a_longer_run(recipe: Recipe, tiny_base_folder: Path, dataset: Path) -> None:
    run = train(recipe).run
    longer = resume(run, ["training.steps=9"])
    assert longer.step == 9
    elsewhere = run.parent.parent / "elsewhere"
    whole = train(make_recipe(tiny_base_folder, dataset, elsewhere, training__steps=9)).run
    assert_same_weights(
        run / "adapter/adapter_model.safetensors", whole / "adapter/adapter_model.safetensors"
    )
    assert "steps: 9" in (run / "recipe.yaml").read_text()


def test_a_damaged_checkpoint_is_passed_over(recipe: Recipe, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(recipe).run
    before = load_file(run / "adapter/adapter_model.safetensors")
    file = run / "checkpoints/step-000006/optimizer.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    resume(run, [])
    assert "step-000006 is damaged (optimizer.safetensors is not what was written)" in capsys.readouterr().err
    after = load_file(run / "adapter/adapter_model.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_killed_before_its_first_checkpoint_begins_again(recipe: Recipe) -> None:
    run = train(recipe).run
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
    run = train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs", optimizer__schedule="cosine")).run
    with pytest.raises(WoodshedError, match=r"training.steps \(began with 6, now 9\)"):
        resume(run, ["training.steps=9"])


def test_a_moved_dataset_is_found_by_its_content(recipe: Recipe, dataset: Path) -> None:
    run = train(recipe).run
    dataset.rename(dataset.with_name("moved"))
    with pytest.raises(WoodshedError, match="there is no folder"):
        resume(run, [])
    assert resume(run, [f"data.dataset={dataset.with_name('moved')}"]).status == "finished"
