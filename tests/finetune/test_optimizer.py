"""Optimizers: state to the last bit, learning rates in closed form."""

from __future__ import annotations

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
)
from finetune.recipe import OptimizerGroup

NAMES = [name for name in OPTIMIZERS if name not in GPU_ONLY]


def parameters() -> list[nn.Parameter]:
    """One large enough for 8-bit state, one not."""
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((64, 128), (3, 5))]


def take_steps(optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()


@pytest.mark.parametrize("name", NAMES)
def test_state_goes_through_a_file_bit_for_bit(name: str) -> None:
    group = OptimizerGroup(name=name, learning_rate=1e-2)  # type: ignore[arg-type]
    unbroken = parameters()
    take_steps(make_optimizer(group, unbroken), unbroken, range(7))

    weights = parameters()
    first = make_optimizer(group, weights)
    take_steps(first, weights, range(4))
    tensors, scalars = optimizer_state(first)
    resumed = [nn.Parameter(weight.detach().clone()) for weight in weights]
    second = make_optimizer(group, resumed)
    restore_optimizer(second, load(save(tensors)), scalars)
    again, numbers = optimizer_state(second)
    assert numbers == scalars and again.keys() == tensors.keys()
    for key in tensors:
        assert again[key].dtype == tensors[key].dtype and torch.equal(again[key], tensors[key])
    take_steps(second, resumed, range(4, 7))
    assert all(torch.equal(a, b) for a, b in zip(unbroken, resumed, strict=True))


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
    weights = [nn.Parameter(torch.tensor([2.0, -3.0]))]
    optimizer = make_optimizer(OptimizerGroup(name="adamw", learning_rate=0.1, weight_decay=0.5), weights)
    weights[0].grad = torch.tensor([0.3, -0.7])
    optimizer.step()
    torch.testing.assert_close(weights[0].data, torch.tensor([2.0 - 0.1 - 0.1, -3.0 + 0.15 + 0.1]))


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
