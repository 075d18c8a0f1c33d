"""The forward and backward pass of LoRA and DoRA layers, as lean as they go; files and names stay PEFT's.

The low-rank part is computed in the type of the activations, which are not copied to float32 as PEFT would, and is
added in place. LoRA: Hu et al. 2021. DoRA (Liu et al. 2024) costs hardly more, since the norm of W + s·B·A is taken
without ever forming it: the squared norm of row i is ‖W_i‖² + 2s·B_i·(A·W_iᵀ) + s²·B_i·(A·Aᵀ)·B_iᵀ. The first term
never changes, the others need only products with the few rows of A, which ride along in the layer's own product with
W, packed or not. Gradients go through the norm, as in Stability's trainer; PEFT and the paper (4.3) hold it constant.
Dropout falls on the low-rank part alone.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora.layer import Linear

from finetune.base_model.learning import is_learning
from finetune.base_model.storage import weight_for_now

SMALLEST_SQUARE = 1e-12  # of a row's norm

Gradients = tuple[torch.Tensor | None, ...]


@torch.no_grad()
def make_lean(layer: Linear, adapter_name: str) -> None:
    """Let a linear LoRA or DoRA layer of PEFT compute as above, a magnitude being the weight's own in float32."""
    if adapter_name in layer.lora_magnitude_vector:
        magnitude = layer.lora_magnitude_vector[adapter_name]
        weight = layer.get_base_layer().weight
        squared = torch.linalg.vector_norm(weight, dim=1, dtype=torch.float32).square()
        magnitude.register_buffer("squared_rows", squared, persistent=False)
        magnitude.weight.data = squared.sqrt()
    layer.lean_adapter = adapter_name
    layer.__class__ = _LeanLinear


class _LeanLinear(Linear):
    """PEFT's layer, made another in place: a forward of each layer's own would be compiled for each anew."""

    lean_adapter: str

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        base, name = self.get_base_layer(), self.lean_adapter
        if self.disable_adapters:
            return base(x)
        rows, scale = x.flatten(0, -2), self.scaling[name]
        dropped = self.lora_dropout[name](rows)
        inputs = (
            rows,
            None if dropped is rows else dropped,
            self.lora_A[name].weight,
            self.lora_B[name].weight,
        )
        if name in self.lora_magnitude_vector:
            magnitude = self.lora_magnitude_vector[name]
            result = _DoRA.apply(
                base, scale, is_learning(), *inputs, magnitude.weight, magnitude.squared_rows
            )
        else:
            result = _LoRA.apply(base, scale, *inputs)
        return result.view(*x.shape[:-1], -1)


class _LoRA(torch.autograd.Function):
    """base(rows) + scale · dropped · downᵀ · upᵀ, (rows, out); `dropped` is None where it is `rows`."""

    @staticmethod
    def forward(
        ctx: Any,
        base: torch.nn.Linear,
        scale: float,
        rows: torch.Tensor,
        dropped: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
    ) -> torch.Tensor:
        ctx.base, ctx.scale, ctx.is_dropped = base, scale, dropped is not None
        low = rows if dropped is None else dropped
        within = low @ down.to(rows.dtype).T
        ctx.save_for_backward(low, within, down, up)
        return base(rows).addmm_(within, up.to(rows.dtype).T, alpha=scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Gradients:
        low, within, down, up = ctx.saved_tensors
        for_rows = gradient @ weight_for_now(ctx.base) if ctx.needs_input_grad[2] else None
        for_within, for_up = _through_up(gradient, within, up, ctx.scale)
        for_low = _through_down(for_within, down, for_rows, ctx.is_dropped)
        return None, None, for_rows, for_low, (for_within.T @ low).to(down.dtype), for_up


class _DoRA(torch.autograd.Function):
    """As `_LoRA`, what is not bias in each column times magnitude / norm; keeps its result, not what it was before.

    `together`: W meets `rows` and `down` in one product, whose rounding may depend on how many rows there are.
    """

    @staticmethod
    def forward(
        ctx: Any,
        base: torch.nn.Linear,
        scale: float,
        together: bool,
        rows: torch.Tensor,
        dropped: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        magnitude: torch.Tensor,
        squared_rows: torch.Tensor,
    ) -> torch.Tensor:
        ctx.base, ctx.scale, ctx.is_dropped = base, scale, dropped is not None
        narrow = down.to(rows.dtype)
        product, through = _products(base, rows, narrow, together)
        norms = row_norms(squared_rows, through, down, up, scale)
        factor = (magnitude / norms).to(rows.dtype)
        low = rows if dropped is None else dropped
        within = low @ narrow.T
        whole = product.addmm_(within, up.to(rows.dtype).T, alpha=scale)
        bias = base.bias
        result = whole * factor if bias is None else torch.addcmul((1 - factor) * bias, whole, factor)
        ctx.save_for_backward(low, within, down, up, magnitude, norms, through, result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Gradients:
        low, within, down, up, magnitude, norms, through, result = ctx.saved_tensors
        factor = magnitude / norms
        for_factor = _of_factor(gradient, result, ctx.base.bias, factor)
        squares = torch.where(
            norms.square() > SMALLEST_SQUARE, -for_factor * factor / (2 * norms.square()), 0
        )
        for_up, for_down, for_through = _through_norms(squares, through, down, up, ctx.scale)

        count = len(gradient) if ctx.needs_input_grad[3] else 0
        scaled = gradient.new_empty(len(gradient) + len(down), gradient.shape[1])
        torch.mul(gradient, factor.to(gradient.dtype), out=scaled[: len(gradient)])
        scaled[len(gradient) :] = for_through
        met = scaled[len(gradient) - count :] @ weight_for_now(ctx.base)
        for_rows = met[:count] if count else None
        for_within, more = _through_up(scaled[: len(gradient)], within, up, ctx.scale)
        for_low = _through_down(for_within, down, for_rows, ctx.is_dropped)
        for_down = for_down + (met[count:] + for_within.T @ low).to(down.dtype)
        return None, None, None, for_rows, for_low, for_down, for_up + more, for_factor / norms, None


def _products(
    base: torch.nn.Linear, rows: torch.Tensor, down: torch.Tensor, together: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """base(rows), and down · Wᵀ in memory of its own."""
    if together:
        product, through = base(torch.cat([rows, down])).split([len(rows), len(down)])
    else:
        product, through = base(rows), base(down)
    return product, through.clone() if base.bias is None else through - base.bias


def _through_up(
    gradient: torch.Tensor, within: torch.Tensor, up: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of `within` and `up`, of scale · within · upᵀ."""
    scaled = within * scale
    return (gradient @ up.to(gradient.dtype)).mul_(scale), (gradient.T @ scaled).to(up.dtype)


def _through_down(
    for_within: torch.Tensor, down: torch.Tensor, for_rows: torch.Tensor | None, is_dropped: bool
) -> torch.Tensor | None:
    """Add the gradient of low · downᵀ to that of the rows, or give it, where `low` is another tensor than these."""
    narrow = down.to(for_within.dtype)
    if is_dropped:
        return for_within @ narrow
    if for_rows is not None:
        for_rows.addmm_(for_within, narrow)
    return None


def _of_factor(
    gradient: torch.Tensor, result: torch.Tensor, bias: torch.Tensor | None, factor: torch.Tensor
) -> torch.Tensor:
    """The gradient of `factor` by the result that it has made. A factor of 0 has hidden what it met: it stays 0."""
    along = (gradient * result).sum(0, dtype=factor.dtype)
    if bias is not None:
        along -= bias * gradient.sum(0, dtype=factor.dtype)
    return torch.where(factor == 0, 0, along / factor)


def row_norms(
    squared_rows: torch.Tensor, through: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float
) -> torch.Tensor:
    """(out,) norms of the rows of W + scale·up·down.

    `squared_rows` (out,) are those of W alone, squared; `through` (rank, out) is down·Wᵀ; `down` (rank, in), `up`
    (out, rank).
    """
    cross = (up * through.T.to(up.dtype)).sum(1)
    square = (up @ (down @ down.T) * up).sum(1)
    return (squared_rows + 2 * scale * cross + scale**2 * square).clamp(min=SMALLEST_SQUARE).sqrt()


def _through_norms(
    squares: torch.Tensor, through: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of `up`, `down` and `through` by those of the squared norms of `row_norms`, (out,)."""
    weighted = 2 * scale * squares[:, None] * up
    for_up = 2 * scale * squares[:, None] * through.T.to(up.dtype) + scale * weighted @ (down @ down.T)
    return for_up, scale * (up.T @ weighted) @ down, weighted.T
