"""When a run stops by itself, and which of its adapters is kept as the best."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_recipe
from safetensors.torch import load_file

from finetune import after_step, trainer, watch
from finetune.adapter import read_card
from finetune.adapter.formats import read_adapter
from finetune.adapter_option import adapter_name
from finetune.checkpoint import checkpoint_folders, step_of
from finetune.cli import main
from finetune.failures import Diverged
from finetune.loss import batch_loss
from finetune.recipe import Recipe, to_yaml
from finetune.tracking import read_log
from finetune.trainer import fork, resume, train


@pytest.fixture
def recipe(tiny_base_folder: Path, dataset: Path, tmp_path: Path) -> Recipe:
    changes = {
        "training__steps": 10,
        "validation__every": 1,
        "samples__every": 0,
        "training__checkpoint_every": 3,
    }
    return make_recipe(tiny_base_folder, dataset, tmp_path / "runs", **changes)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, float]]:
    """Held-out losses by validation, from the base's on; the training set's is half of each."""
    losses: dict[int, float] = {}
    count = iter(range(1000))

    def scripted(*_: Any) -> dict[str, Any]:
        loss = losses[next(count)]
        return {"held_out_loss": loss, "training_set_loss": loss / 2}

    monkeypatch.setattr(after_step, "validation_losses", scripted)
    yield losses


def steps(run: Path) -> list[int]:
    return [step_of(folder) for folder in checkpoint_folders(run)]


def test_the_best_is_kept_named_and_usable(recipe: Recipe, script: dict[int, float]) -> None:
    """Best at step 4 of 10; the newest two checkpoints are 10 and 9."""
    script.update(enumerate([1.0, 0.9, 0.8, 0.85, 0.7, 0.75, 0.8, 0.9, 1.0, 1.1, 1.2]))
    result = train(recipe)
    assert (result.best, result.best_step, result.best_held_out_loss) == (result.run / "best", 4, 0.7)
    assert result.verdict is not None and result.verdict.endswith("by heart; the best was step 4.") is False
    assert "Both rise" in result.verdict and result.held_out_loss_after == 1.2
    assert steps(result.run) == [10, 9, 4]
    assert read_card(result.run / "best")["step"] == 4
    best, last = (read_adapter(result.run / name).modules for name in ("best", "adapter"))
    assert best.keys() == last.keys()
    assert not all(torch.equal(best[name].up, last[name].up) for name in best)
    kept = load_file(result.run / "checkpoints/step-000004/adapter.safetensors")
    name = next(name for name in kept if name.endswith("lora_B.weight"))
    assert torch.equal(kept[name], best[name.removesuffix(".lora_B.weight")].up)
    assert adapter_name(result.run / "best") == "tiny-best" and adapter_name(result.run) == "tiny"


def test_a_lost_best_comes_back(recipe: Recipe, script: dict[int, float]) -> None:
    script.update(enumerate([1.0, 0.9, 0.8, 0.85, 0.7, 0.75, 0.8, 0.9, 1.0, 1.1, 1.2]))
    run = train(recipe).run
    file = run / "best/adapter_model.safetensors"
    before, last = file.read_bytes(), (run / "adapter/adapter_model.safetensors").read_bytes()
    shutil.rmtree(run / "best")
    resume(run, [])
    assert file.read_bytes() == before
    assert (run / "adapter/adapter_model.safetensors").read_bytes() == last


def test_patience_ends_a_run_well(
    recipe: Recipe,
    script: dict[int, float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit code 0; asked for more patience it goes on."""
    script.update(enumerate([1.0, 0.9, 0.8, 0.85, 0.9] + [0.7] * 20))
    recipe.validation.patience = 2
    file = Path(recipe.data.dataset).parent / "recipe.yaml"
    file.write_text(to_yaml(recipe), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["woodshed", "train", str(file), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    result = json.loads(capsys.readouterr().out)
    assert (result["status"], result["step"], result["best_step"]) == ("stopped early", 4, 2)
    run = Path(result["run"])
    assert read_card(run / "adapter")["step"] == 4 and steps(run) == [4, 3, 2]
    again = resume(run, [])
    assert (again.status, again.step) == ("stopped early", 4)
    patient = resume(run, ["validation.patience=6"])
    assert (patient.status, patient.step, patient.best_step) == ("finished", 10, 5)
    assert [row["step"] for row in read_log(run) if "loss" in row] == list(range(1, 11))


def test_a_run_that_diverged_goes_on_from_before(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three times the loss from step 8 on; the checkpoint of step 6 outlives those of 9 and 12."""
    for name, value in (("SMOOTHING_STEPS", 2), ("LONG_STEPS", 6)):
        monkeypatch.setattr(watch, name, value)
    recipe.training.steps, recipe.validation.every = 30, 100
    seen = iter(range(1, 100))

    def explode(base: Any, batch: Any) -> torch.Tensor:
        loss = batch_loss(base, batch)
        return loss * (5 / loss.detach()) * (3 if next(seen) > 7 else 1)

    monkeypatch.setattr(trainer, "batch_loss", explode)
    with pytest.raises(Diverged, match=r"Training diverged.*until step 7.*checkpoints before.*--fork tiny-2"):
        train(recipe)
    run = Path(recipe.output.root) / "tiny"
    assert steps(run)[-1] == 6 and steps(run)[0] > 9
    monkeypatch.setattr(trainer, "batch_loss", batch_loss)
    child = fork(run, "tiny-2", ["optimizer.learning_rate=0.001", "training.steps=8"])
    assert json.loads((child.run / "parent.json").read_text())["step"] == 6
