"""An adapter as numbers: what it makes of each weight of a base, whatever file it came from.

LoRA: Hu et al. 2021; DoRA: Liu et al. 2024, whose magnitudes are those of rows (one for each output) or, in a
variant, of columns; BoRA: Wang et al. 2024, both.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

Kind = Literal["lora", "dora", "dora-cols", "bora"]


@dataclass(frozen=True)
class LowRank:
    """What becomes of one weight W (out, in): W + scale · up · down, then rows or columns at a learned length.

    `down` (rank, in), `up` (out, rank), `row_magnitude` (out,), `column_magnitude` (in,).
    """

    down: torch.Tensor
    up: torch.Tensor
    scale: float
    row_magnitude: torch.Tensor | None = None
    column_magnitude: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        return len(self.down)

    @property
    def kind(self) -> Kind:
        if self.row_magnitude is None:
            return "lora" if self.column_magnitude is None else "dora-cols"
        return "dora" if self.column_magnitude is None else "bora"

    def merged(self, weight: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
        """The weight with the adapter in it, float32, of the shape of `weight` (which may be a pointwise
        convolution's, (out, in, 1)).

        `strength` goes from the weight itself (0, exactly) to the adapter as trained (1) and beyond: the low-rank
        part is scaled, and a magnitude goes from the weight's own to the trained one.
        """
        if strength == 0:
            return weight.float()
        own = weight.float().flatten(1)
        new = own + (strength * self.scale) * (self.up.to(own) @ self.down.to(own))
        for magnitude, axis in ((self.row_magnitude, 1), (self.column_magnitude, 0)):
            if magnitude is not None:
                length = torch.linalg.vector_norm(new, dim=axis, keepdim=True).clamp(min=1e-12)
                wanted = torch.lerp(
                    torch.linalg.vector_norm(own, dim=axis), magnitude.to(own), strength
                ).unsqueeze(axis)
                new = new * (wanted / length)
        return new.reshape(weight.shape)


@dataclass(frozen=True)
class LowRankAdapter:
    """All weights that an adapter changes, by the names of `BaseModel.trainable_parts`, such as
    `transformer.transformer_blocks.0.self_attn.to_qkv`; rows in the order of diffusers.

    `facts` is what its file says of it: licence, trigger, the base's name and hash.
    """

    modules: dict[str, LowRank]
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def kinds(self) -> str:
        """The kind of all modules, or all kinds, in words."""
        return " and ".join(sorted({part.kind for part in self.modules.values()}))
