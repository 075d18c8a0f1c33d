"""What an adapter is: kind, size, what it changes and how much, which base it fits, what its header says."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch

from finetune.adapter.blend import check_fit
from finetune.adapter.formats import locate, read_adapter, read_facts
from finetune.adapter.formats.geometry import geometry_of
from finetune.adapter.formats.parts import NeedsBase
from finetune.adapter.formats.peft import PARTS, WEIGHTS, place
from finetune.adapter.formats.tensors import read_tensors
from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.base_model import BaseModel, load_base
from finetune.provenance import describe

_BLOCK = re.compile(r"transformer\.transformer_blocks\.(\d+)\.(.+)")
OUTSIDE = "outside"


@dataclass(frozen=True)
class BlockEffect:
    """`norm` is the Frobenius norm of what is added to the weights of a block, `relative` the same over the norm of
    those weights. With the base at hand it is the whole change, else the low-rank part, and `relative` is None."""

    block: str
    modules: int
    norm: float
    relative: float | None


@dataclass(frozen=True)
class Inspected:
    """`ranks` and `alphas` are those that occur. `needs_base` says why the effect is not told without a base,
    `provenance` whether it is on record and signed what the adapter was made from."""

    file: str
    format: str
    kind: str | None
    ranks: list[int]
    alphas: list[float]
    modules: int
    parameters: int
    targets: dict[str, int]
    width: int | None
    blocks: int | None
    differential: bool | None
    fits: str | None
    effects: list[BlockEffect]
    needs_base: str | None
    facts: dict[str, str]
    provenance: str | None = None


def inspect(path: Path, base: str | None = None) -> Inspected:
    """Look at an adapter of any format. `base` is the name of a base, to tell what it changes relative to its weights.

    Raises WoodshedError for whatever is no whole adapter, and for a base of other shapes.
    """
    format, where = locate(path)
    files = [place(where, part) / WEIGHTS for part in PARTS] if format == "peft" else [where]
    stored = [read_tensors(file) for file in files if file.exists()]
    parameters = sum(
        t.numel() for one in stored for name, t in one.tensors.items() if not name.endswith(".alpha")
    )
    facts = read_facts(path)
    model = _load(base)
    try:
        adapter = read_adapter(path, model)
    except NeedsBase as error:
        return Inspected(
            str(path),
            format,
            None,
            [],
            [],
            0,
            parameters,
            {},
            None,
            None,
            None,
            None,
            [],
            str(error),
            facts,
            describe(path).words,
        )
    if model is not None:
        check_fit(model, adapter, path.name)
    parts = adapter.modules.values()
    geometry = geometry_of(adapter.modules)
    return Inspected(
        file=str(path),
        format=format,
        kind=adapter.kinds,
        ranks=sorted({part.rank for part in parts}),
        alphas=sorted({round(part.scale * part.rank, 6) for part in parts}),
        modules=len(parts),
        parameters=parameters,
        targets=dict(sorted(Counter(_target(module) for module in adapter.modules).items())),
        width=geometry.width,
        blocks=geometry.blocks,
        differential=geometry.differential,
        fits=geometry.fits,
        effects=_effects(adapter, model),
        needs_base=None,
        facts=adapter.facts,
        provenance=describe(path).words,
    )


def _load(base: str | None) -> BaseModel | None:
    if base is None:
        return None
    model = load_base(base)
    model.release_encoders()
    return model


def _effects(adapter: LowRankAdapter, base: BaseModel | None) -> list[BlockEffect]:
    """One for each block, in order, and one for all that lies outside of the blocks."""
    squares: dict[str, list[tuple[float, float | None]]] = {}
    for module, part in adapter.modules.items():
        found = _BLOCK.fullmatch(module)
        squares.setdefault(found[1] if found else OUTSIDE, []).append(_change(module, part, base))
    effects = []
    for block in sorted(squares, key=lambda name: (name == OUTSIDE, name.zfill(4))):
        changed = sum(each[0] for each in squares[block])
        own = [each[1] for each in squares[block] if each[1] is not None]
        relative = (changed / sum(own)) ** 0.5 if own else None
        effects.append(BlockEffect(block, len(squares[block]), changed**0.5, relative))
    return effects


def _change(module: str, part: LowRank, base: BaseModel | None) -> tuple[float, float | None]:
    """Squared norms of what is added to a weight, and of the weight."""
    if base is None:  # ‖B·A‖² is the trace of (BᵀB)(AAᵀ), which is small
        inner = (part.up.T @ part.up) * (part.down @ part.down.T)
        return max(float(inner.sum()), 0.0) * part.scale**2, None
    weight = base.trainable_parts.get_submodule(module).weight
    assert isinstance(weight, torch.Tensor)
    own = weight.detach().float()
    return float((part.merged(own) - own).square().sum()), float(own.square().sum())


def _target(module: str) -> str:
    found = _BLOCK.fullmatch(module)
    return found[2] if found else module
