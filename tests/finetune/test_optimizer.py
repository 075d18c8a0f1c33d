"""Optimizers: state to the last bit, learning rates in closed form."""

from __future__ import annotations

import json
import math

import pytest
import torch
from safetensors.torch import load, save
from torch import nn

from finetune.optimizer import (
    GPU_ONLY,
    OPTIMIZERS,
    learning_rate,
    make_optimizer,
    optimizer_state,
    restore_optimizer,
    set_rate,
)
from finetune.recipe import OptimizerGroup

PARTS = ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector.weight")
NAMES = [name for name in OPTIMIZERS if name not in GPU_ONLY]


def parameters() -> dict[str, nn.Parameter]:
    """One large enough for 8-bit state, one not."""
    generator = torch.Generator().manual_seed(0)
    shapes = {"m.lora_A.weight": (64, 128), "m.lora_B.weight": (3, 5)}
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}


def take_steps(optimizer: torch.optim.Optimizer, weights: dict[str, nn.Parameter], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for weight in weights.values():
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "lora_plus"), [*((name, 1.0) for name in NAMES), ("adamw8bit", 16.0), ("adamw", 16.0)]
)
def test_state_goes_through_a_file_bit_for_bit(name: str, lora_plus: float) -> None:
    group = OptimizerGroup(name=name, learning_rate=1e-2, lora_plus=lora_plus)  # type: ignore[arg-type]
    unbroken = parameters()
    take_steps(make_optimizer(group, unbroken), unbroken, range(7))

    weights = parameters()
    first = make_optimizer(group, weights)
    take_steps(first, weights, range(4))
    tensors, scalars = optimizer_state(first)
    scalars = json.loads(json.dumps(scalars))
    resumed = {name: nn.Parameter(weight.detach().clone()) for name, weight in weights.items()}
    second = make_optimizer(group, resumed)
    restore_optimizer(second, load(save(tensors)), scalars)
    again, numbers = optimizer_state(second)
    assert numbers == scalars and again.keys() == tensors.keys()
    for key in tensors:
        assert again[key].dtype == tensors[key].dtype and torch.equal(again[key], tensors[key])
    take_steps(second, resumed, range(4, 7))
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("8bit")])
def test_eight_bits_are_eight_bits(name: str) -> None:
    weights = parameters()
    optimizer = make_optimizer(OptimizerGroup(name=name), weights)  # type: ignore[arg-type]
    take_steps(optimizer, weights, range(2))
    tensors, _ = optimizer_state(optimizer)
    assert tensors["0.state1"].dtype == torch.uint8 and tensors["0.state1"].numel() == 64 * 128
    assert tensors["1.state1"].dtype == torch.float32


def test_adamw_takes_the_step_of_its_paper() -> None:
    """First step (Loshchilov & Hutter 2019): w - rate·(decay·w + sign of the gradient), the moments cancelling."""
    weight = nn.Parameter(torch.tensor([2.0, -3.0]))
    group = OptimizerGroup(name="adamw", learning_rate=0.1, weight_decay=0.5)
    optimizer = make_optimizer(group, {"m.lora_A.weight": weight})
    weight.grad = torch.tensor([0.3, -0.7])
    optimizer.step()
    torch.testing.assert_close(weight.data, torch.tensor([2.0 - 0.1 - 0.1, -3.0 + 0.15 + 0.1]))


@pytest.mark.parametrize("name", ["adamw", "adamw8bit", "lion8bit"])
def test_lora_plus_steps_b_alone_that_much_further(name: str) -> None:
    """Without decay the first step of AdamW and of Lion is the rate, whatever the gradient."""
    weights = {f"m.{part}": nn.Parameter(torch.zeros(4)) for part in PARTS}
    group = OptimizerGroup(name=name, learning_rate=1e-3, lora_plus=16, weight_decay=0.0)  # type: ignore[arg-type]
    optimizer = make_optimizer(group, weights)
    set_rate(optimizer, 2e-3)
    for weight in weights.values():
        weight.grad = torch.tensor([0.5, -0.01, 3.0, -2.0])
    optimizer.step()
    steps = [weight.abs().mean().item() for weight in weights.values()]
    assert steps == pytest.approx([2e-3, 32e-3, 2e-3], rel=1e-3)


def test_prodigy_finds_the_rate_and_keeps_it() -> None:
    """On |x - 1| from 0 by its first guess of 1e-6 it would take a million steps (Mishchenko & Defazio 2024)."""
    weight = nn.Parameter(torch.zeros(50))
    group = OptimizerGroup(name="prodigy", learning_rate=1.0, weight_decay=0.0)
    optimizer = make_optimizer(group, {"m.lora_A.weight": weight})
    with torch.no_grad():
        weight += 1e-3  # from nothing at all it has no start to measure from
    for _ in range(200):
        weight.grad = torch.sign(weight.detach() - 1)
        optimizer.step()
    assert (weight - 1).abs().max() < 0.1
    assert optimizer_state(optimizer)[1]["group.d"] > 1e-3


def test_prodigy_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    make_optimizer(OptimizerGroup(name="prodigy", learning_rate=1.0), parameters())
    assert capsys.readouterr().out == ""


def test_the_inverse_schedule_is_stability_s() -> None:
    """Of its InverseLR: rate · (1 + n / gamma)^-power, n counted from 0, without warm-up."""
    group = OptimizerGroup(learning_rate=1e-3, schedule="inverse", inverse_steps=50, inverse_power=0.5)
    for step in (1, 2, 51, 1000):
        assert learning_rate(group, step, 10) == pytest.approx(1e-3 * (1 + (step - 1) / 50) ** -0.5)
    warmed = OptimizerGroup(**{**vars(group), "warmup_steps": 10})
    assert learning_rate(warmed, 5, 10) == pytest.approx(0.5e-3)
    assert learning_rate(warmed, 10, 10) == pytest.approx(1e-3)
    assert learning_rate(warmed, 60, 10) == pytest.approx(1e-3 * 2**-0.5)


def test_constant_and_cosine_rates() -> None:
    constant = OptimizerGroup(learning_rate=1e-3, warmup_steps=4)
    assert [learning_rate(constant, step, 100) for step in (1, 2, 4, 5, 100)] == [
        pytest.approx(rate) for rate in (0.25e-3, 0.5e-3, 1e-3, 1e-3, 1e-3)
    ]
    cosine = OptimizerGroup(learning_rate=1e-3, warmup_steps=4, schedule="cosine")
    assert learning_rate(cosine, 4, 24) == pytest.approx(1e-3)
    assert learning_rate(cosine, 14, 24) == pytest.approx(0.5e-3)
    assert learning_rate(cosine, 9, 24) == pytest.approx(0.5e-3 * (1 + math.cos(math.pi / 4)))
    assert learning_rate(cosine, 24, 24) == pytest.approx(0, abs=1e-12)
