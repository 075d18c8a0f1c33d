"""DoRA that costs hardly more than LoRA: the norm of W + s·B·A without ever forming it.

The squared norm of row i is ‖W_i‖² + 2s·B_i·(A·W_iᵀ) + s²·B_i·(A·Aᵀ)·B_iᵀ: the first term never changes, the
others need only products with the few rows of A. `base(A)` gives A·Wᵀ for any kind of layer, quantised ones too.

Gradients go through the norm, as in Stability's trainer; PEFT and the paper (Liu et al. 2024, 4.3) hold it constant.
Dropout falls on the low-rank part alone.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from peft.tuners.lora.variants import DoraLinearVariant
from torch import nn


class LeanDora(DoraLinearVariant):
    """Takes the place of PEFT's own forward of a DoRA layer; its files and its merging stay PEFT's."""

    @staticmethod
    def forward(
        module: Linear, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        base = module.get_base_layer()
        down, up = module.lora_A[active_adapter].weight, module.lora_B[active_adapter].weight
        magnitude, scale = module.lora_magnitude_vector[active_adapter], module.scaling[active_adapter]
        norm = row_norms(base, magnitude.squared_rows, down, up, scale)
        bias = 0.0 if base.bias is None else base.bias
        low_rank = scale * (module.lora_dropout[active_adapter](x) @ down.T @ up.T)
        return bias + (magnitude.weight / norm) * (result - bias + low_rank)


def row_norms(
    base: nn.Module, squared_rows: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float
) -> torch.Tensor:
    """(out,) norms of the rows of W + scale·up·down; W is the weight of the linear layer `base`.

    `squared_rows` (out,) are those of W alone, squared; `down` (rank, in), `up` (out, rank).
    """
    through = base(down.to(next(base.parameters()).dtype)).to(up.dtype)
    if base.bias is not None:
        through = through - base.bias
    cross = (up * through.T).sum(1)
    square = (up @ (down @ down.T) * up).sum(1)
    return (squared_rows + 2 * scale * cross + scale**2 * square).clamp(min=1e-12).sqrt()


@torch.no_grad()
def make_lean(layer: Linear, adapter_name: str) -> None:
    """Let a DoRA layer of PEFT compute as above, its magnitude being the weight's own in float32."""
    magnitude = layer.lora_magnitude_vector[adapter_name]
    weight = layer.get_base_layer().weight
    squared = torch.linalg.vector_norm(weight, dim=1, dtype=torch.float32).square()
    magnitude.register_buffer("squared_rows", squared, persistent=False)
    magnitude.weight.data = squared.sqrt()
    layer.lora_variant[adapter_name] = LeanDora()
