"""Stability's native file: one rank, alpha and kind for all modules in `lora_config`, their names, their row order.

Stability's program, Underfit and gary4local read it. Kinds: lora, dora-rows (once called dora), dora-cols, bora, and
each with `-xs`, where the matrices are singular vectors of the base's own weight around a small trained core.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from typing import Any

import torch

from finetune.adapter.formats.geometry import is_differential
from finetune.adapter.formats.parts import Encoded, by_module, low_rank, one_kind, rounded, weight_of
from finetune.adapter.formats.tensors import Stored
from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.base_model import BaseModel
from finetune.base_model.stability.keys import (
    module_of,
    rows_from_stability,
    rows_to_stability,
    stability_module,
)
from finetune.errors import WoodshedError

IMPLEMENTATION = "https://github.com/Stability-AI/stable-audio-3"
MARK = ".parametrizations.weight.0."
_KEY = re.compile(
    r"(?P<module>.+)\.parametrizations\.weight\.0\."
    r"(?P<role>lora_A|lora_B|M_xs|magnitude|magnitude_r|magnitude_c)"
)
_CONFIG = "lora_config"
_ROLES = {
    "lora": set(),
    "dora": {"magnitude"},
    "dora-rows": {"magnitude"},
    "dora-cols": {"magnitude"},
    "bora": {"magnitude_r", "magnitude_c"},
}
_NAMES = {"lora": "lora", "dora": "dora-rows", "dora-cols": "dora-cols", "bora": "bora"}


def decode(stored: Stored, base: BaseModel | None) -> LowRankAdapter:
    """The adapter of such a file; the `-xs` kinds need the base that they were trained on."""
    sorted_out = by_module(stored, _KEY)
    config = _config(stored)
    kind = _kind(stored, config, sorted_out)
    modules = {}
    for theirs, roles in sorted_out.items():
        module = _module(stored, theirs)
        where = f"'{stored.path}', {theirs}"
        expected = _ROLES[kind.removesuffix("-xs")] | (
            {"M_xs"} if kind.endswith("-xs") else {"lora_A", "lora_B"}
        )
        if roles.keys() != expected:
            raise WoodshedError(
                f"{where}: a {kind} has {_listed(expected)}, the file has {_listed(roles.keys())}."
            )
        if kind.endswith("-xs"):
            down, up = _from_core(module, roles["M_xs"], base, where, kind)
        else:
            down, up = roles["lora_A"], roles["lora_B"]
        rows, columns = _magnitudes(kind, roles)
        part = low_rank(where, down, up, 1.0, rows, columns)
        scale = _number(config, "alpha", part.rank, where) / _number(config, "rank", part.rank, where)
        modules[module] = _reordered(module, replace(part, scale=scale), rows_from_stability)
    return LowRankAdapter(modules, stored.header)


def encode(adapter: LowRankAdapter, dtype: torch.dtype) -> Encoded:
    """Tensors, header and notes. Ranks are filled up with zeros to the largest, differing scales go into B: both exact.

    Raises WoodshedError where kinds are mixed.
    """
    kind = one_kind(adapter.modules.values(), "Stability's file")
    rank = max(part.rank for part in adapter.modules.values())
    scales = {part.scale for part in adapter.modules.values()}
    scale = scales.pop() if len(scales) == 1 else 1.0
    tensors: dict[str, torch.Tensor] = {}
    names = []
    for module, part in adapter.modules.items():
        stored = rounded(_reordered(module, _with_rank(part, rank, scale), rows_to_stability), dtype)
        name = _local(stability_module(module))
        names.append(name)
        tensors |= {f"{name}{MARK}{role}": tensor for role, tensor in _roles(stored).items()}
    config: dict[str, Any] = {
        "rank": rank,
        "alpha": scale * rank,
        "adapter_type": _NAMES[kind],
        "include": sorted(names),
        "exclude": [],
    }
    return Encoded(tensors, {_CONFIG: json.dumps(config)}, _notes(adapter, rank, scales))


def _roles(part: LowRank) -> dict[str, torch.Tensor]:
    rows, columns = part.row_magnitude, part.column_magnitude
    roles = {"lora_A": part.down, "lora_B": part.up}
    if rows is not None and columns is not None:
        return roles | {"magnitude_r": rows, "magnitude_c": columns}
    magnitude = columns if rows is None else rows
    return roles if magnitude is None else roles | {"magnitude": magnitude}


def _notes(adapter: LowRankAdapter, rank: int, scales: set[float]) -> list[str]:
    notes = []
    ranks = sorted({part.rank for part in adapter.modules.values()})
    if len(ranks) > 1:
        notes.append(
            f"Stability's file has one rank: ranks {', '.join(map(str, ranks))} were filled up with zeros to {rank}, "
            "which changes nothing but the size."
        )
    if scales:
        notes.append("Stability's file has one alpha: each module's own went into its matrix B, exactly.")
    return notes


def _with_rank(part: LowRank, rank: int, scale: float) -> LowRank:
    more = rank - part.rank
    up = part.up if part.scale == scale else part.up * (part.scale / scale)
    return replace(
        part,
        down=torch.nn.functional.pad(part.down, (0, 0, 0, more)),
        up=torch.nn.functional.pad(up, (0, more)),
        scale=scale,
    )


def _reordered(module: str, part: LowRank, reorder: Any) -> LowRank:
    differential = is_differential(part)
    rows = part.row_magnitude
    return replace(
        part,
        up=reorder(module, part.up, differential),
        row_magnitude=None if rows is None else reorder(module, rows, differential),
    )


def _from_core(
    module: str, core: torch.Tensor, base: BaseModel | None, where: str, kind: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B of an `-xs` adapter: Vᵀ and U·M, from the strongest singular vectors of the base's weight, each left
    vector with its largest entry positive."""
    weight = weight_of(base, module, f"{where}: a {kind} is stored relative to the weights of its base")
    if core.dim() != 2 or core.shape[0] != core.shape[1] or core.shape[0] > min(weight.shape):
        raise WoodshedError(f"{where}: a core of shape {tuple(core.shape)} does not fit the base's weight.")
    differential = len(weight) == 5 * weight.shape[1]
    own = rows_to_stability(module, weight.float().cpu(), differential)
    left, _, right = torch.linalg.svd(own, full_matrices=False)
    left, right = left[:, : len(core)], right[: len(core)]
    sign = torch.where(left.gather(0, left.abs().argmax(0, keepdim=True)) < 0, -1.0, 1.0)
    return right * sign.T, (left * sign) @ core.float()


def _magnitudes(kind: str, roles: dict[str, torch.Tensor]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if "magnitude_r" in roles:
        return roles["magnitude_r"], roles["magnitude_c"]
    magnitude = roles.get("magnitude")
    return (None, magnitude) if kind.startswith("dora-cols") else (magnitude, None)


def _kind(stored: Stored, config: dict[str, Any], sorted_out: dict[str, dict[str, torch.Tensor]]) -> str:
    """The kind that the header names. The name 'dora' once meant columns, whose magnitudes were (1, in)."""
    kind = config.get("adapter_type", "lora")
    if not isinstance(kind, str) or kind.removesuffix("-xs") not in _ROLES or kind == "dora-xs":
        raise WoodshedError(f"'{stored.path}' is an adapter of type '{kind}', which Woodshed does not know.")
    magnitudes = [roles["magnitude"] for roles in sorted_out.values() if "magnitude" in roles]
    if kind == "dora" and magnitudes and magnitudes[0].dim() == 2 and magnitudes[0].shape[0] == 1:
        return "dora-cols"
    return kind


def _config(stored: Stored) -> dict[str, Any]:
    try:
        config = json.loads(stored.header.get(_CONFIG, "{}"))
    except ValueError as error:
        raise WoodshedError(f"'{stored.path}': '{_CONFIG}' in its header cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise WoodshedError(f"'{stored.path}': '{_CONFIG}' in its header is no configuration.")
    return config


def _number(config: dict[str, Any], key: str, rank: int, where: str) -> float:
    """`rank` or `alpha` of the header; Stability's program takes the tensors' rank for what is not said."""
    default = config.get("rank", rank) if key == "alpha" else rank
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WoodshedError(f"{where}: the {key} in its header is '{value}', which is no number.")
    if key == "rank" and value != rank:
        raise WoodshedError(f"{where} has rank {rank}, but its header says {value}.")
    return value


def _module(stored: Stored, theirs: str) -> str:
    whole = f"conditioner.{theirs}" if theirs.startswith("conditioners.") else f"model.{theirs}"
    try:
        return module_of(whole)
    except KeyError:
        raise WoodshedError(
            f"'{stored.path}' changes '{theirs}', which is no part of Stable Audio 3's transformer or duration "
            "embedder. Nothing of it is used, since what that does would be lost."
        ) from None


def _local(stability_module: str) -> str:
    """The name within Stability's wrapper or conditioner, which is what their files and `include` use."""
    return stability_module.removeprefix("conditioner.").removeprefix("model.")


def _listed(roles: Any) -> str:
    return ", ".join(sorted(roles))
