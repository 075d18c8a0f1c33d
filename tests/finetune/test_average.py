"""The moving average of the adapter: its closed form, and that it is what a run uses, keeps and goes on with."""

from __future__ import annotations

from pathlib import Path

import torch
from conftest import make_recipe
from safetensors.torch import load_file

from finetune.adapter import AdapterSettings, attach
from finetune.adapter.folder import read_state
from finetune.average import make_average
from finetune.base_model import BaseModel
from finetune.tracking import read_log
from finetune.trainer import train

SETTINGS = {"training__ema": 0.8, "adapter__targets": "attention", "samples__every": 0}


def test_it_is_the_weighted_sum_of_all_steps(tiny_base: BaseModel) -> None:
    """Step n keeps k_n = min(decay, (1 + n) / (10 + n)): the average is Σ (1 - k_n) · w_n · Π_{m > n} k_m."""
    adapter = attach(tiny_base, AdapterSettings(rank=2, alpha=2.0, targets="attention", layers="0"))
    average = make_average(adapter, 0.5)
    assert average is not None
    expected = {name: weight.double() for name, weight in adapter.state().items()}
    for step in range(1, 13):
        kept = min(0.5, (1 + step) / (10 + step))
        with torch.no_grad():
            for number, weight in enumerate(adapter.parameters()):
                weight.add_(0.1 * (number + 1) * (-1) ** step)
        for name, weight in adapter.state().items():
            expected[name] = kept * expected[name] + (1 - kept) * weight.double()
        average.update(step)
    for name, weight in average.state().items():
        torch.testing.assert_close(weight, expected[name].float())


def test_it_takes_the_adapters_place_and_gives_it_back_to_the_bit(tiny_base: BaseModel) -> None:
    adapter = attach(tiny_base, AdapterSettings(rank=2, alpha=2.0, targets="attention", layers="0"))
    average = make_average(adapter, 0.99)
    assert average is not None and make_average(adapter, None) is None
    with torch.no_grad():
        for weight in adapter.parameters():
            weight.add_(torch.randn_like(weight))
    own, kept = adapter.state(), average.state()
    with average.in_place(), average.in_place():
        assert all(torch.equal(weight, kept[name]) for name, weight in adapter.state().items())
    assert all(torch.equal(weight, own[name]) for name, weight in adapter.state().items())
    assert all(torch.equal(weight, kept[name]) for name, weight in average.state().items())


def test_it_is_what_a_run_is_judged_by_and_leaves(
    tiny_base_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    plain = train(
        make_recipe(tiny_base_folder, dataset, tmp_path / "plain", **SETTINGS | {"training__ema": None})
    ).run
    run = train(make_recipe(tiny_base_folder, dataset, tmp_path / "runs", **SETTINGS)).run
    last = run / "checkpoints/step-000006"
    own, average = load_file(last / "adapter.safetensors"), load_file(last / "average.safetensors")
    left = read_state(run / "adapter")
    assert left.keys() == average.keys()
    assert all(torch.equal(left[name], average[name]) for name in left)
    assert not all(torch.equal(left[name], own[name]) for name in left)
    untouched = load_file(plain / "checkpoints/step-000006/adapter.safetensors")
    assert all(torch.equal(own[name], untouched[name]) for name in own), "the average does not steer"
    losses = [
        [row["held_out_loss"] for row in read_log(each) if "held_out_loss" in row] for each in (plain, run)
    ]
    assert losses[0][0] == losses[1][0] and losses[0][-1] != losses[1][-1]
