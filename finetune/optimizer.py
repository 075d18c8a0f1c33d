"""The optimizers, a closed table; the learning rate of a step; optimizer state as plain tensors."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from finetune.recipe import OptimizerGroup

Scalars = dict[str, float]


def _bitsandbytes(name: str, groups: list[dict[str, Any]], **settings: Any) -> torch.optim.Optimizer:
    import bitsandbytes

    return getattr(bitsandbytes.optim, name)(groups, **settings)


def _prodigy(groups: list[dict[str, Any]], **settings: Any) -> torch.optim.Optimizer:
    """With what its authors advise for fine-tuning: warm-up kept out of the estimate, Adam's bias correction."""
    from prodigyopt import Prodigy

    with contextlib.redirect_stdout(io.StringIO()):  # it prints a line about weight decay
        return Prodigy(groups, safeguard_warmup=True, use_bias_correction=True, **settings)


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw8bit": partial(_bitsandbytes, "AdamW8bit"),
    "adamw": partial(torch.optim.AdamW, fused=True),
    "lion8bit": partial(_bitsandbytes, "Lion8bit"),
    "pagedadamw8bit": partial(_bitsandbytes, "PagedAdamW8bit"),
    "prodigy": _prodigy,
}
GPU_ONLY = ("pagedadamw8bit",)
STATE_BYTES = {
    "adamw8bit": 2,
    "adamw": 8,
    "lion8bit": 1,
    "pagedadamw8bit": 2,
    "prodigy": 16,
}  # for each weight
# What Prodigy finds out and keeps for all parameters together: the rate, and the sums that it comes from.
_GROUP_MEMORY = ("d", "d_max", "d_hat", "d_numerator", "d_denom", "k")


def make_optimizer(group: OptimizerGroup, parameters: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer that `group` names, over the adapter's weights by their names.

    With `lora_plus` B learns that many times as fast as A and the magnitudes (LoRA+, Hayou et al. 2024). Gradients are
    made here, as zeros and for the whole run: made by each step between what comes and goes, they would leave gaps.
    """
    for weight in parameters.values():
        weight.grad = torch.zeros_like(weight)
    fast = {name for name in parameters if ".lora_B." in name} if group.lora_plus != 1 else set()
    groups = [
        {"params": [weight for name, weight in parameters.items() if name not in fast], "ratio": 1.0},
        {"params": [weight for name, weight in parameters.items() if name in fast], "ratio": group.lora_plus},
    ]
    return OPTIMIZERS[group.name](
        [each for each in groups if each["params"]],
        lr=group.learning_rate,
        betas=tuple(group.betas),
        weight_decay=group.weight_decay,
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step; weights that learn faster get their multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["ratio"]


def learning_rate(group: OptimizerGroup, step: int, steps: int) -> float:
    """The rate of step 1 … `steps`: linear warm-up, then the schedule, which begins at the full rate.

    constant: stays. cosine: half a cosine, to 0 at the last step. inverse: (1 + n / inverse_steps)^-inverse_power,
    n steps after the first at the full rate, which is Stability's InverseLR.
    """
    if step <= group.warmup_steps:
        return group.learning_rate * step / group.warmup_steps
    if group.schedule == "constant":
        return group.learning_rate
    if group.schedule == "inverse":
        past = step - max(group.warmup_steps, 1)
        return group.learning_rate * (1 + past / group.inverse_steps) ** -group.inverse_power
    done = (step - group.warmup_steps) / (steps - group.warmup_steps)
    return group.learning_rate * (0.5 + 0.5 * math.cos(math.pi * done))


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], Scalars]:
    """Everything the optimizer remembers: `<parameter's number>.<name>` as tensors on the CPU and as numbers, and
    `group.<name>`, the numbers that all parameters share."""
    tensors: dict[str, torch.Tensor] = {}
    scalars: Scalars = {}
    for number, parameter in enumerate(_parameters(optimizer)):
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, torch.Tensor):
                tensors[f"{number}.{name}"] = value.detach().cpu().clone().contiguous()
            else:
                scalars[f"{number}.{name}"] = value
    shared = optimizer.param_groups[0]
    return tensors, scalars | {f"group.{name}": shared[name] for name in _GROUP_MEMORY if name in shared}


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
        if number == "group":
            for group in optimizer.param_groups:
                group[name] = value
            continue
        parameter = parameters[int(number)]
        if isinstance(value, torch.Tensor):
            value = value.clone() if value.ndim == 0 else value.to(parameter.device, copy=True)
        optimizer.state[parameter][name] = value


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
