"""Frozen weights kept smaller than they are computed with, and unpacked for each product.

bfloat16 on a processor that is slow in it; int8 with a scale for each row; NF4 (QLoRA, Dettmers et al. 2023) with
bitsandbytes. Only linear layers are packed: norms, embeddings and convolutions stay as they are.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Self

import torch
from torch import nn

from finetune.base_model.loading import load_base
from finetune.base_model.model import BaseModel
from finetune.memory import free_at_once

Precision = Literal["float32", "bfloat16", "int8", "nf4"]
NF4_BLOCK = 64  # weights that share a scale


def load_frozen(model: str, precision: Precision, device: torch.device) -> BaseModel:
    """The base called `model` with its linear layers in `precision`, to be trained on on `device`, and in main memory
    so far: the parts never need to be on a GPU all at once.

    It computes in bfloat16 where the device has instructions for it and the weights are no wider, else in float32.
    Raises WoodshedError as `load_base` does.
    """
    free_at_once()
    read, compute = types_of(precision, device)
    base = load_base(model, read)
    if read != compute:
        pack(base.text_encoder, "bfloat16", compute)
        base.rounded = True
    if is_packed(precision, device):
        pack(base.transformer, precision, compute)
    return base


def types_of(precision: Precision, device: torch.device) -> tuple[torch.dtype, torch.dtype]:
    """The types that weights are read in, and computed with."""
    if precision == "float32":
        return torch.float32, torch.float32
    return torch.bfloat16, torch.bfloat16 if computes_in_bfloat16(device) else torch.float32


def is_packed(precision: Precision, device: torch.device) -> bool:
    """Whether weights lie in another form than that of either type."""
    read, compute = types_of(precision, device)
    return precision in ("int8", "nf4") or read != compute


def computes_in_bfloat16(device: torch.device) -> bool:
    """Without such instructions PyTorch's bfloat16 products are up to 300 times slower than those in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(module: nn.Module, precision: Precision, compute: torch.dtype) -> None:
    """Replace the linear layers of `module`, one by one, with packed ones that compute in `compute`."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.Linear):
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, PackedLinear(layer, precision, compute))
    for parameter in module.parameters():
        parameter.data = parameter.data.to(compute)


class PackedLinear(nn.Linear):
    """A frozen linear layer. `weight` is unpacked anew whenever it is asked for: (out, in) in the type computed in."""

    packed: Any

    def __init__(self, layer: nn.Linear, precision: Precision, compute: torch.dtype) -> None:
        nn.Module.__init__(self)  # a linear layer to whoever asks, without making the weight of one
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.packed = _PACKINGS[precision](layer.weight.detach(), compute)
        bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().to(compute), False)
        self.register_parameter("bias", bias)

    @property
    def weight(self) -> torch.Tensor:  # type: ignore[override]
        values, packed = self.packed.values, self.packed
        return packed.unpacked(torch.empty(packed.shape, dtype=packed.compute, device=values.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product = _Product.apply(x, self.packed)
        return product if self.bias is None else product.add_(self.bias)


class _Product(torch.autograd.Function):
    """x·Wᵀ, keeping neither x, which a frozen weight needs no gradient from, nor the unpacked W."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, packed: nn.Module) -> torch.Tensor:
        ctx.packed = packed
        return x @ _unpacked_for_now(packed).T

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient @ _unpacked_for_now(ctx.packed), None


def weight_for_now(layer: nn.Linear) -> torch.Tensor:
    """The frozen weight, (out, in); that of a packed layer lasts until the next one is unpacked."""
    return _unpacked_for_now(layer.packed) if isinstance(layer, PackedLinear) else layer.weight


_room: dict[tuple[torch.device, torch.dtype], torch.Tensor] = {}


def _unpacked_for_now(packed: Any) -> torch.Tensor:
    """The weight, in memory that the next one unpacked will take: fresh memory would cost more than the unpacking."""
    size, key = math.prod(packed.shape), (packed.values.device, packed.compute)
    if key not in _room or len(_room[key]) < size:
        _room[key] = torch.empty(size, dtype=packed.compute, device=packed.values.device)
    return packed.unpacked(_room[key][:size].view(packed.shape))


class _Half(nn.Module):
    """bfloat16."""

    values: torch.Tensor

    def __init__(self, weight: torch.Tensor, compute: torch.dtype) -> None:
        super().__init__()
        self.shape, self.compute = weight.shape, compute
        self.register_buffer("values", weight.to(torch.bfloat16))

    def unpacked(self, out: torch.Tensor) -> torch.Tensor:
        return out.copy_(self.values)


class _Int8(nn.Module):
    """-127 … 127 times a scale for each row: an error of at most half a scale."""

    values: torch.Tensor
    scales: torch.Tensor

    def __init__(self, weight: torch.Tensor, compute: torch.dtype) -> None:
        super().__init__()
        self.shape, self.compute = weight.shape, compute
        scales = weight.float().abs().amax(dim=1, keepdim=True).clamp(min=1e-30) / 127
        self.register_buffer("scales", scales.to(compute))
        self.register_buffer(
            "values", (weight.float() / self.scales.float()).round().clamp(-127, 127).to(torch.int8)
        )

    def unpacked(self, out: torch.Tensor) -> torch.Tensor:
        return torch.mul(self.values, self.scales, out=out)


class _NF4(nn.Module):
    """One of 16 numbers for each weight, a scale for each 64, itself in eight bits: 4.13 bits a weight."""

    values: torch.Tensor

    def __init__(self, weight: torch.Tensor, compute: torch.dtype) -> None:
        super().__init__()
        self.shape, self.compute = weight.shape, compute
        from bitsandbytes.functional import quantize_4bit

        values, self.scales = quantize_4bit(
            weight.to(compute).contiguous(), blocksize=NF4_BLOCK, compress_statistics=True, quant_type="nf4"
        )
        self.register_buffer("values", values)

    def _apply(self, change: Any, recurse: bool = True) -> Self:
        super()._apply(change, recurse)
        self.scales.to(self.values.device)
        return self

    def unpacked(self, out: torch.Tensor) -> torch.Tensor:
        from bitsandbytes.functional import dequantize_4bit

        on_gpu = out.device.type == "cuda"  # elsewhere it cannot be told where to put the result
        return dequantize_4bit(self.values, self.scales, out=out if on_gpu else None)


_PACKINGS = {"bfloat16": _Half, "int8": _Int8, "nf4": _NF4}
