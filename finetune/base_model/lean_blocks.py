"""Transformer blocks that keep less for the backward pass, at hardly any cost: what is cheap is computed again.

Products and attention are kept. Norms with their modulation, and the gate of the feed-forward layer, are computed again
from their inputs, also where an adapter needs them as the input of its product: gradient checkpointing of the cheap
half of a block.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch.nn.functional import silu

from finetune.memory import count_kept

Make = Callable[..., torch.Tensor]
_recomputed: ContextVar[bool] = ContextVar("recomputed", default=False)


def keep_less(transformer: Any) -> None:
    """Have all blocks do so where there are gradients."""
    for block in transformer.transformer_blocks:
        block.forward = partial(_forward, block, block.forward)


def _forward(
    block: Any,
    plain: Make,
    hidden: torch.Tensor,
    context: torch.Tensor,
    global_modulation: torch.Tensor,
    rope: torch.Tensor,
    context_mask: torch.Tensor | None = None,
    local_seq: torch.Tensor | None = None,
    num_memory_tokens: int = 0,
) -> torch.Tensor:
    """As the block's own, `plain`: self-attention, cross-attention, local condition, feed-forward."""
    if not torch.is_grad_enabled():
        return plain(hidden, context, global_modulation, rope, context_mask, local_seq, num_memory_tokens)
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


def whole(forward: Make, *arguments: Any, **named: Any) -> torch.Tensor:
    """`forward` of a block that is computed again as a whole: the same numbers, and nothing within it is spared."""
    token = _recomputed.set(True)
    try:
        return forward(*arguments, **named)
    finally:
        _recomputed.reset(token)


def with_cheap_input(use: Make, make: Make, *inputs: torch.Tensor) -> torch.Tensor:
    """use(make(*inputs)), where what `use` keeps of its input is made again in the backward pass."""
    made = make(*inputs)
    if _recomputed.get():
        return use(made)
    plain = [each.detach() for each in inputs]
    place = made.untyped_storage().data_ptr()

    def pack(tensor: torch.Tensor) -> Any:
        if tensor.untyped_storage().data_ptr() == place:
            return tensor.shape, tensor.stride(), tensor.storage_offset()
        count_kept(tensor)
        return tensor

    def unpack(kept: Any) -> torch.Tensor:
        if isinstance(kept, torch.Tensor):
            return kept
        with torch.no_grad():
            return make(*plain).as_strided(*kept)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        return use(made)


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
