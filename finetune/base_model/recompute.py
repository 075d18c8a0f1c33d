"""Gradient checkpointing, block by block: activations are computed again in the backward pass instead of kept.

Chen et al. 2016. Each block so treated saves its activations and costs one more forward pass of it. Unlike PyTorch's
non-reentrant `checkpoint`, not even the graph of the block is kept: its many small pieces would hold apart the large
ones that come and go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.checkpoint import get_device_states, set_device_states

from finetune.base_model.learning import first_pass
from finetune.base_model.rounded import Shelf
from finetune.memory import count_kept


def recompute_blocks(transformer: Any, count: int, dropout: bool) -> None:
    """Have the first `count` blocks keep nothing but their input; `dropout`: adapters in them draw random numbers.

    To be called when adapters are in place: what is trained in a block must not change any more.
    """
    shelf = Shelf()
    for block in transformer.transformer_blocks[:count]:
        trained = [parameter for parameter in block.parameters() if parameter.requires_grad]
        block.forward = partial(_forward, block.forward, trained, shelf, dropout)


def _forward(
    forward: Callable[..., torch.Tensor],
    trained: list[nn.Parameter],
    shelf: Shelf,
    dropout: bool,
    *inputs: Any,
    **named: Any,
) -> torch.Tensor:
    """A block's own `forward`, its inputs put on `shelf`."""
    if not torch.is_grad_enabled():
        return forward(*inputs, **named)

    def run(*values: Any) -> torch.Tensor:
        return forward(*values[: len(inputs)], **dict(zip(named, values[len(inputs) :], strict=True)))

    with saved_tensors_hooks(partial(_keep, shelf), lambda tensor: tensor):
        return _Recomputed.apply(run, trained, dropout, *inputs, *named.values(), *trained)


def _keep(shelf: Shelf, tensor: torch.Tensor) -> torch.Tensor:
    """On a GPU there are no gaps to avoid."""
    plain = tensor.detach()
    if plain.device.type != "cpu":
        return count_kept(plain)
    return count_kept(shelf.copy(plain, plain.dtype), alone=True)


class _Recomputed(torch.autograd.Function):
    """run(*values) of values, tensors or not, and of the parameters that follow them and that it trains."""

    @staticmethod
    def forward(ctx: Any, run: Any, trained: list[nn.Parameter], dropout: bool, *values: Any) -> torch.Tensor:
        values = values[: len(values) - len(trained)]
        ctx.run, ctx.trained = run, trained
        ctx.random = _random_state(values) if dropout else None
        ctx.others = [None if _is_tensor(value) else value for value in values]
        ctx.save_for_backward(*(value if _is_tensor(value) else None for value in values))
        with first_pass():
            return run(*(value.detach() if _is_tensor(value) else value for value in values))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        needed, learning = ctx.needs_input_grad[3:], []
        with torch.enable_grad(), _same_random(ctx.random):
            values = list(ctx.others)
            for place, kept in enumerate(ctx.saved_tensors):
                if kept is not None:
                    values[place] = kept.detach()
                if needed[place]:  # as a view: FlopCounterMode refuses leaves
                    values[place] = values[place].requires_grad_().view_as(kept)
                    learning.append(values[place])
            result = ctx.run(*values)
        found = iter(torch.autograd.grad(result, learning + ctx.trained, gradient, allow_unused=True))
        return None, None, None, *(next(found) if need else None for need in needed)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _random_state(values: tuple[Any, ...]) -> tuple[torch.Tensor, Any]:
    return torch.get_rng_state(), get_device_states(*values)


@contextmanager
def _same_random(state: tuple[torch.Tensor, Any] | None) -> Iterator[None]:
    """Random numbers are drawn as from `state` on, and afterwards as if nothing had been drawn."""
    if state is None:
        yield
        return
    main, (devices, states) = state
    with torch.random.fork_rng(devices):
        torch.set_rng_state(main)
        set_device_states(devices, states)
        yield
