"""ComfyUI's LoRA file: `diffusion_model.` and Stability's names and row order, an alpha for each module.

ComfyUI divides a DoRA's row by the length that it had before the adapter (`weight_decompose`, October 2025 and
February 2026), not by the length it has with it. So that a DoRA does there what was trained, `dora_scale` holds the
magnitude times the one length over the other, which takes the base's weights to write and to read; the header says so.
"""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from finetune.adapter.formats.geometry import is_differential
from finetune.adapter.formats.parts import Encoded, by_module, low_rank, rounded, weight_of
from finetune.adapter.formats.tensors import Stored
from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.base_model import BaseModel
from finetune.base_model.stability.keys import (
    DIT,
    module_of,
    rows_from_stability,
    rows_to_stability,
    stability_module,
)
from finetune.errors import WoodshedError

IMPLEMENTATION = "https://github.com/Comfy-Org/ComfyUI"
PREFIX = "diffusion_model."
_ROW_MARK, _BY_LENGTHS = "woodshed.dora_scale", "magnitude * length before / length after"
_KEY = re.compile(
    r"diffusion_model\.(?P<module>.+)\."
    r"(?P<role>lora_A\.weight|lora_B\.weight|lora_down\.weight|lora_up\.weight|alpha|dora_scale)"
)


def decode(stored: Stored, base: BaseModel | None) -> LowRankAdapter:
    """The adapter of such a file. A DoRA of rows that Woodshed wrote needs the base; one of another maker is taken
    for the DoRA of the paper."""
    modules = {}
    for theirs, roles in by_module(stored, _KEY).items():
        where = f"'{stored.path}', {theirs}"
        try:
            module = module_of(DIT + theirs)
        except KeyError:
            raise WoodshedError(f"{where} is no module of Stable Audio 3's transformer.") from None
        down = roles.get("lora_A.weight", roles.get("lora_down.weight"))
        up = roles.get("lora_B.weight", roles.get("lora_up.weight"))
        part = low_rank(where, down, up, 1.0)
        alpha = roles.get("alpha")
        if alpha is not None and alpha.numel() != 1:
            raise WoodshedError(f"{where}: its alpha is not one number.")
        part = replace(part, scale=1.0 if alpha is None else alpha.item() / part.rank)
        modules[module] = _with_magnitude(module, part, roles.get("dora_scale"), stored, base, where)
    return LowRankAdapter(modules, stored.header)


def encode(adapter: LowRankAdapter, dtype: torch.dtype, base: BaseModel | None) -> Encoded:
    """Tensors and header. A DoRA of rows needs the base.

    Raises WoodshedError for what ComfyUI has no place for: an adapted duration embedder, and BoRA.
    """
    tensors: dict[str, torch.Tensor] = {}
    lengths_used = False
    for module, part in adapter.modules.items():
        if not module.startswith("transformer."):
            raise WoodshedError(
                "ComfyUI's LoRA loader reaches the transformer alone, and this adapter also changes the duration "
                "embedder. Export it merged (--to merged), or train it with adapter.duration_embedder=false."
            )
        if part.kind == "bora":
            raise WoodshedError(
                "ComfyUI has no adapter with magnitudes of rows and columns (bora). Export it merged: --to merged."
            )
        small = rounded(part, dtype)
        scale = _dora_scale(module, part, small, base)
        lengths_used |= part.kind == "dora"
        differential = is_differential(part)
        name = PREFIX + stability_module(module).removeprefix(DIT)
        tensors[f"{name}.lora_A.weight"] = small.down
        tensors[f"{name}.lora_B.weight"] = rows_to_stability(module, small.up, differential)
        tensors[f"{name}.alpha"] = torch.tensor(part.scale * part.rank)
        if scale is not None:
            is_rows = part.kind == "dora"
            scale = scale.unsqueeze(-1) if module.endswith("process_conv") else scale  # a 1×1 convolution
            tensors[f"{name}.dora_scale"] = (
                rows_to_stability(module, scale, differential) if is_rows else scale
            )
    return Encoded(tensors, {_ROW_MARK: _BY_LENGTHS} if lengths_used else {})


def _dora_scale(module: str, part: LowRank, small: LowRank, base: BaseModel | None) -> torch.Tensor | None:
    """(out, 1) for magnitudes of rows, (1, in) for those of columns, float32."""
    if part.column_magnitude is not None:
        return part.column_magnitude[None]
    if part.row_magnitude is None:
        return None
    return (part.row_magnitude / _growth(module, small, base))[:, None]


def _with_magnitude(
    module: str,
    part: LowRank,
    scale: torch.Tensor | None,
    stored: Stored,
    base: BaseModel | None,
    where: str,
) -> LowRank:
    differential = is_differential(part)
    inner = replace(part, up=rows_from_stability(module, part.up, differential))
    if scale is None:
        return inner
    outputs, inputs = len(part.up), part.down.shape[1]
    scale = scale.flatten(1) if scale.dim() > 2 else scale
    if scale.shape == (1, inputs) and outputs != 1:
        return replace(inner, column_magnitude=scale[0].float())
    if scale.numel() != outputs or scale.shape[0] != outputs:
        raise WoodshedError(
            f"{where}: a dora_scale of shape {tuple(scale.shape)} fits neither its rows nor columns."
        )
    rows = rows_from_stability(module, scale.flatten().float(), differential)
    if stored.header.get(_ROW_MARK) == _BY_LENGTHS:
        rows = rows * _growth(module, inner, base)
    return replace(inner, row_magnitude=rows)


def _growth(module: str, part: LowRank, base: BaseModel | None) -> torch.Tensor:
    """(out,) length of each row with the adapter's matrices over its length without."""
    own = weight_of(
        base, module, "A DoRA in ComfyUI's form is stored relative to the weights of its base"
    ).float()
    grown = own + part.scale * (part.up.to(own) @ part.down.to(own))
    lengths = [torch.linalg.vector_norm(each, dim=1).clamp(min=1e-12) for each in (grown, own)]
    return (lengths[0] / lengths[1]).cpu()
