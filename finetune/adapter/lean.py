"""The forward of LoRA and DoRA layers, as lean as it goes; files and names stay PEFT's.

The low-rank part is computed in the type of the activations, which are not copied to float32 as PEFT would, and is
added in one product. LoRA: Hu et al. 2021. DoRA (Liu et al. 2024) costs hardly more, since the norm of W + s·B·A is
taken without ever forming it: the squared norm of row i is ‖W_i‖² + 2s·B_i·(A·W_iᵀ) + s²·B_i·(A·Aᵀ)·B_iᵀ. The first
term never changes, the others need only products with the few rows of A; `base(A)` gives A·Wᵀ for any kind of layer,
packed ones too. Gradients go through the norm, as in Stability's trainer; PEFT and the paper (4.3) hold it constant.
Dropout falls on the low-rank part alone.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from peft.tuners.lora.variants import DoraLinearVariant, LoraVariant
from torch import nn


class LeanLora(LoraVariant):
    @staticmethod
    def forward(
        module: Linear, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        return with_low_rank(module, active_adapter, x, result)


class LeanDora(DoraLinearVariant):
    @staticmethod
    def forward(
        module: Linear, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        base = module.get_base_layer()
        down, up = module.lora_A[active_adapter].weight, module.lora_B[active_adapter].weight
        magnitude, scale = module.lora_magnitude_vector[active_adapter], module.scaling[active_adapter]
        norm = row_norms(base, magnitude.squared_rows, down, up, scale, x.dtype)
        factor = (magnitude.weight / norm).to(x.dtype)
        whole = with_low_rank(module, active_adapter, x, result)
        if base.bias is None:
            return factor * whole
        return torch.addcmul((1 - factor) * base.bias, factor, whole)  # the bias is not scaled


def with_low_rank(module: Linear, active_adapter: str, x: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """`result` + scale · dropout(x) · downᵀ · upᵀ, in the type of x."""
    down = module.lora_A[active_adapter].weight.to(x.dtype)
    up = module.lora_B[active_adapter].weight.to(x.dtype)
    within = module.lora_dropout[active_adapter](x).flatten(0, -2) @ down.T
    added = torch.addmm(result.flatten(0, -2), within, up.T, alpha=module.scaling[active_adapter])
    return added.view(result.shape)


def row_norms(
    base: nn.Module,
    squared_rows: torch.Tensor,
    down: torch.Tensor,
    up: torch.Tensor,
    scale: float,
    dtype: torch.dtype,
) -> torch.Tensor:
    """(out,) norms of the rows of W + scale·up·down; W is the weight of the linear layer `base`, which takes `dtype`.

    `squared_rows` (out,) are those of W alone, squared; `down` (rank, in), `up` (out, rank).
    """
    through = base(down.to(dtype)).to(up.dtype)
    if base.bias is not None:
        through = through - base.bias
    cross = (up * through.T).sum(1)
    square = (up @ (down @ down.T) * up).sum(1)
    return (squared_rows + 2 * scale * cross + scale**2 * square).clamp(min=1e-12).sqrt()


@torch.no_grad()
def make_lean(layer: Linear, adapter_name: str) -> None:
    """Let a linear LoRA or DoRA layer of PEFT compute as above, a magnitude being the weight's own in float32."""
    layer.cast_input_dtype_enabled = False
    if adapter_name not in layer.lora_magnitude_vector:
        layer.lora_variant[adapter_name] = LeanLora()
        return
    magnitude = layer.lora_magnitude_vector[adapter_name]
    weight = layer.get_base_layer().weight
    squared = torch.linalg.vector_norm(weight, dim=1, dtype=torch.float32).square()
    magnitude.register_buffer("squared_rows", squared, persistent=False)
    magnitude.weight.data = squared.sqrt()
    layer.lora_variant[adapter_name] = LeanDora()
