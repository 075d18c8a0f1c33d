"""The forward pass of LoRA and DoRA layers, as lean as it goes; files and names stay PEFT's.

The low-rank part is computed in the type of the activations, which are not copied to float32 as PEFT would, and is
added in place. LoRA: Hu et al. 2021. DoRA (Liu et al. 2024) costs hardly more, since the norm of W + s·B·A is taken
without ever forming it: the squared norm of row i is ‖W_i‖² + 2s·B_i·(A·W_iᵀ) + s²·B_i·(A·Aᵀ)·B_iᵀ. The first term
never changes, the others need only products with the few rows of A, which ride along in the layer's own product with
W, packed or not. Gradients go through the norm, as in Stability's trainer; PEFT and the paper (4.3) hold it constant.
Dropout falls on the low-rank part alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear

from finetune.base_model.learning import is_learning


@torch.no_grad()
def make_lean(layer: Linear, adapter_name: str) -> None:
    """Let a linear LoRA or DoRA layer of PEFT compute as above, a magnitude being the weight's own in float32."""
    if adapter_name not in layer.lora_magnitude_vector:
        layer.forward = partial(_lora, layer, adapter_name)
        return
    magnitude = layer.lora_magnitude_vector[adapter_name]
    weight = layer.get_base_layer().weight
    squared = torch.linalg.vector_norm(weight, dim=1, dtype=torch.float32).square()
    magnitude.register_buffer("squared_rows", squared, persistent=False)
    magnitude.weight.data = squared.sqrt()
    layer.forward = partial(_dora, layer, adapter_name)


def _lora(layer: Linear, name: str, x: torch.Tensor) -> torch.Tensor:
    base = layer.get_base_layer()
    if layer.disable_adapters:
        return base(x)
    rows = x.flatten(0, -2)
    return _with_low_rank(layer, name, rows, base(rows)).view(*x.shape[:-1], -1)


def _dora(layer: Linear, name: str, x: torch.Tensor) -> torch.Tensor:
    base = layer.get_base_layer()
    if layer.disable_adapters:
        return base(x)
    rows, down, up = x.flatten(0, -2), layer.lora_A[name].weight, layer.lora_B[name].weight
    magnitude, scale = layer.lora_magnitude_vector[name], layer.scaling[name]
    plain, through = _products(base, rows, down.to(x.dtype))
    if base.bias is not None:
        through = through - base.bias
    factor = magnitude.weight / row_norms(magnitude.squared_rows, through, down, up, scale)
    whole = _with_low_rank(layer, name, rows, plain)
    return _Lengthened.apply(whole, factor.to(x.dtype), base.bias).view(*x.shape[:-1], -1)


def _products(base: Any, rows: torch.Tensor, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`base` of both; in training by one product, whose rounding may depend on how many rows there are."""
    if not is_learning():
        return base(rows), base(down)
    plain, through = base(torch.cat([rows, down])).split([len(rows), len(down)])
    return plain, through.clone()  # what is kept of a part keeps the whole


def _with_low_rank(layer: Linear, name: str, rows: torch.Tensor, product: torch.Tensor) -> torch.Tensor:
    """`product` + scale · dropout(rows) · downᵀ · upᵀ, (rows, out), in the type of `rows`."""
    down, up = layer.lora_A[name].weight.to(rows.dtype), layer.lora_B[name].weight.to(rows.dtype)
    within = layer.lora_dropout[name](rows) @ down.T
    if product._is_view():
        return torch.addmm(product, within, up.T, alpha=layer.scaling[name])
    return product.addmm_(within, up.T, alpha=layer.scaling[name])


def row_norms(
    squared_rows: torch.Tensor, through: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float
) -> torch.Tensor:
    """(out,) norms of the rows of W + scale·up·down.

    `squared_rows` (out,) are those of W alone, squared; `through` (rank, out) is down·Wᵀ; `down` (rank, in), `up`
    (out, rank).
    """
    cross = (up * through.T.to(up.dtype)).sum(1)
    square = (up @ (down @ down.T) * up).sum(1)
    return (squared_rows + 2 * scale * cross + scale**2 * square).clamp(min=1e-12).sqrt()


class _Lengthened(torch.autograd.Function):
    """(rows - bias) · factor + bias, keeping its result alone, which the next layer keeps anyway."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, factor: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        result = rows * factor if bias is None else torch.addcmul((1 - factor) * bias, rows, factor)
        ctx.save_for_backward(result, factor, bias)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        result, factor, bias = ctx.saved_tensors
        scaled = (gradient * (result if bias is None else result - bias)).sum(0)
        # A factor of 0 has hidden the rows; its gradient is lost, and only there.
        return gradient * factor, torch.where(factor == 0, 0, scaled / factor), None
