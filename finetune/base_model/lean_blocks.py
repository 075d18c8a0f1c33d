"""Transformer blocks that keep less for the backward pass, at hardly any cost: what is cheap is computed again.

Products and attention are kept. Norms with their modulation, and the gate of the feed-forward layer, are computed again
from their inputs, also where an adapter needs them as the input of its product: gradient checkpointing of the cheap
half of a block. What is kept of a base that is rounded to bfloat16 and computes in float32 is rounded likewise, as if
it had been computed in bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import silu

from finetune.base_model.learning import is_learning
from finetune.base_model.rounded import Rounding, Shelf, restored
from finetune.memory import count_kept

SMALL_SHARE = 4  # tensors this many times smaller than a block's input are not rounded
Make = Callable[..., torch.Tensor]
_rounding: ContextVar[Rounding | None] = ContextVar("rounding", default=None)


def keep_less(transformer: Any, rounded: bool = False) -> None:
    """Have all blocks do so where there are gradients; `rounded`: what they keep is rounded to bfloat16."""
    shelf = Shelf() if rounded else None
    for block in transformer.transformer_blocks:
        block.forward = partial(_forward, block, block.forward, shelf)


def _forward(
    block: Any, plain: Make, shelf: Shelf | None, hidden: torch.Tensor, *others: Any, **named: Any
) -> torch.Tensor:
    """As the block's own, `plain`."""
    if not is_learning():
        return plain(hidden, *others, **named)
    if shelf is None or not torch.is_grad_enabled():
        return _lean(block, hidden, *others, **named)
    with _rounded(Rounding(shelf, hidden.numel() // SMALL_SHARE)):
        return _lean(block, hidden, *others, **named)


def _lean(
    block: Any,
    hidden: torch.Tensor,
    context: torch.Tensor,
    global_modulation: torch.Tensor,
    rope: torch.Tensor,
    context_mask: torch.Tensor | None = None,
    local_seq: torch.Tensor | None = None,
    num_memory_tokens: int = 0,
) -> torch.Tensor:
    """Self-attention, cross-attention, local condition, feed-forward."""
    modulation = (block.to_scale_shift_gate + global_modulation).unsqueeze(1)
    scale, shift, gate, ff_scale, ff_shift, ff_gate = modulation.chunk(6, dim=-1)
    attend = partial(block.self_attn, rope=rope)
    attended = with_cheap_input(attend, _norm(block.pre_norm), hidden, scale, shift)
    hidden = torch.addcmul(hidden, attended, torch.sigmoid(1 - gate))
    look = partial(block.cross_attn, context=context, context_mask=context_mask)
    hidden = hidden + with_cheap_input(look, _norm(block.cross_attend_norm), hidden)
    if local_seq is not None:
        audio = hidden[:, num_memory_tokens:] + block.to_local_embed(local_seq)
        hidden = torch.cat([hidden[:, :num_memory_tokens], audio], dim=1)
    projected = with_cheap_input(block.ff.proj_in, _norm(block.ff_norm), hidden, ff_scale, ff_shift)
    forwarded = with_cheap_input(block.ff.proj_out, _SwiGLU.apply, projected)
    return torch.addcmul(hidden, forwarded, torch.sigmoid(1 - ff_gate))


def with_cheap_input(use: Make, make: Make, *inputs: torch.Tensor) -> torch.Tensor:
    """use(make(*inputs)), where what `use` keeps of its input is made again in the backward pass."""
    made = make(*inputs)
    if not torch.is_grad_enabled():
        return use(made)
    rounding = _rounding.get()
    keep = rounding.pack if rounding else count_kept
    plain = [keep(each.detach()) for each in inputs]
    place = made.untyped_storage().data_ptr()

    def pack(tensor: torch.Tensor) -> Any:
        if tensor.untyped_storage().data_ptr() == place:
            return _Remade(tensor.shape, tensor.stride(), int(tensor.storage_offset()))
        return keep(tensor)

    def unpack(kept: Any) -> torch.Tensor:
        if not isinstance(kept, _Remade):
            return restored(kept)
        with torch.no_grad():
            return make(*map(restored, plain)).as_strided(*kept)

    with saved_tensors_hooks(pack, unpack):
        return use(made)


class _Remade(NamedTuple):
    """Which part of what is made again a tensor was."""

    shape: torch.Size
    stride: tuple[int, ...]
    offset: int


@contextmanager
def _rounded(rounding: Rounding) -> Iterator[None]:
    """What is kept within is rounded."""
    token = _rounding.set(rounding)
    try:
        with saved_tensors_hooks(rounding.pack, restored):
            yield
    finally:
        _rounding.reset(token)
        rounding.forget()


def _norm(norm: Any) -> Make:
    return partial(_apply_norm, norm.gamma, norm.eps)


def _apply_norm(
    gamma: torch.Tensor, epsilon: float, x: torch.Tensor, *modulation: torch.Tensor
) -> torch.Tensor:
    return _Norm.apply(x, gamma, epsilon, *modulation)


class _Norm(torch.autograd.Function):
    """x / √(mean x² + ε) · γ in float32, then · (1 + scale) + shift where these are given; γ is frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        gamma: torch.Tensor,
        epsilon: float,
        scale: torch.Tensor | None = None,
        shift: torch.Tensor | None = None,
    ) -> torch.Tensor:
        wide = x.float()
        inverse = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, gamma, inverse, scale)
        normed = (wide * inverse).mul_(gamma.float()).to(x.dtype)
        return normed if scale is None or shift is None else torch.addcmul(shift, normed, 1 + scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, gamma, inverse, scale = ctx.saved_tensors
        normed = x.float() * inverse
        for_scale = for_shift = None
        if scale is not None:
            for_shift = gradient.sum(1, keepdim=True)
            for_scale = (gradient * normed).sum(1, keepdim=True).mul_(gamma.float()).to(gradient.dtype)
            gradient = gradient * (1 + scale)
        wide = gradient.float() * gamma.float()
        along = (wide * normed).mean(-1, keepdim=True)
        for_x = wide.addcmul_(normed, along, value=-1).mul_(inverse).to(x.dtype)
        return for_x, None, None, for_scale, for_shift


class _SwiGLU(torch.autograd.Function):
    """h · silu(gate) of [h | gate], keeping these alone."""

    @staticmethod
    def forward(ctx: Any, projected: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(projected)
        hidden, gate = projected.chunk(2, dim=-1)
        return hidden * silu(gate)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (projected,) = ctx.saved_tensors
        hidden, gate = projected.chunk(2, dim=-1)
        whole = torch.empty_like(projected)
        for_hidden, for_gate = whole.chunk(2, dim=-1)
        open_ = torch.sigmoid(gate)
        torch.mul(gate, open_, out=for_hidden)  # silu
        torch.mul(open_, 1 + gate - for_hidden, out=for_gate)  # its slope
        for_gate.mul_(hidden).mul_(gradient)
        for_hidden.mul_(gradient)
        return whole
