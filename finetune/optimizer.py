"""The optimizers, a closed table; the learning rate of a step; optimizer state as plain tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from finetune.recipe import OptimizerGroup

Scalars = dict[str, float]


def _bitsandbytes(name: str, parameters: list[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
    import bitsandbytes

    return getattr(bitsandbytes.optim, name)(parameters, **settings)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw8bit": partial(_bitsandbytes, "AdamW8bit"),
    "adamw": torch.optim.AdamW,
    "lion8bit": partial(_bitsandbytes, "Lion8bit"),
    "pagedadamw8bit": partial(_bitsandbytes, "PagedAdamW8bit"),
}
GPU_ONLY = ("pagedadamw8bit",)


def make_optimizer(group: OptimizerGroup, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return OPTIMIZERS[group.name](
        parameters, lr=group.learning_rate, betas=tuple(group.betas), weight_decay=group.weight_decay
    )


def learning_rate(group: OptimizerGroup, step: int, steps: int) -> float:
    """The rate of step 1 … `steps`: linear warm-up, then constant or half a cosine to 0 at the last step."""
    if step <= group.warmup_steps:
        return group.learning_rate * step / group.warmup_steps
    if group.schedule == "constant":
        return group.learning_rate
    done = (step - group.warmup_steps) / (steps - group.warmup_steps)
    return group.learning_rate * (0.5 + 0.5 * math.cos(math.pi * done))


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], Scalars]:
    """Everything the optimizer remembers, as `<parameter's number>.<name>`: tensors on the CPU, and numbers."""
    tensors, scalars = {}, {}
    for number, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{number}.{name}"] = value.detach().cpu().clone().contiguous()
            else:
                scalars[f"{number}.{name}"] = value
    return tensors, scalars


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], scalars: Scalars
) -> None:
    """Give back what `optimizer_state` took, to the last bit.

    The state is set directly: `load_state_dict` casts floating-point state to the parameter's type. Single numbers
    stay on the CPU, where the optimizers keep their step counts.
    """
    parameters = _parameters(optimizer)
    for key, value in {**tensors, **scalars}.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        if isinstance(value, torch.Tensor):
            value = value.clone() if value.ndim == 0 else value.to(parameter.device, copy=True)
        optimizer.state[parameter][name] = value


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
