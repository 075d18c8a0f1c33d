"""Random adapters of realistic size for a base of any geometry, for comparisons with other programs."""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.base_model import BaseModel
from tests.tools.random_checkpoint import default_dtype, write_checkpoint
from tests.tools.stability_geometry import GEOMETRIES, Geometry

CHANGE = 0.1
"""Norm of what is added to a weight, relative to the weight; magnitudes are off by a fifth of it."""


_NOT_ADAPTED = (
    "same_channels", "same_depth", "same_head", "patch", "sinusoidal_blocks", "stride",
    "text_layers", "text_heads", "text_head", "text_inner", "vocabulary",
)  # fmt: skip


def light(name: str) -> Geometry:
    """The geometry `name` with the autoencoder and text encoder of a tiny one, which no adapter changes."""
    geometry = GEOMETRIES[name]
    tiny = GEOMETRIES["tiny-medium" if geometry.sliding else "tiny"]
    return replace(geometry, **{field: getattr(tiny, field) for field in _NOT_ADAPTED})


@contextlib.contextmanager
def light_checkpoint(name: str) -> Iterator[Path]:
    """A folder with a random checkpoint of that geometry in `folder / name`; `GEOMETRIES` then says it is light."""
    GEOMETRIES[name] = light(name)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_checkpoint(folder / name, GEOMETRIES[name], dtype=default_dtype(name))
        yield folder


def options(program: str, description: str | None) -> argparse.ArgumentParser:
    """The command line of a comparison: another program's checkout, and geometries."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.tools.{program}", description=description)
    parser.add_argument("checkout", type=Path)
    parser.add_argument(
        "geometry", nargs="*", default=["tiny", "tiny-medium"], help=f"of {', '.join(GEOMETRIES)}"
    )
    return parser


def adaptable(base: BaseModel) -> list[str]:
    """Every Linear and Conv1d of the transformer and the duration embedder."""
    return [
        name
        for name, module in base.trainable_parts.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d)
    ]


def realistic_adapter(
    base: BaseModel, kind: str, rank: int, names: list[str], seed: int = 0
) -> LowRankAdapter:
    draw = torch.Generator().manual_seed(seed)
    modules = {}
    for name in names:
        weight = base.trainable_parts.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        own = weight.detach().float().flatten(1)
        down = torch.randn(rank, own.shape[1], generator=draw)
        up = torch.randn(len(own), rank, generator=draw)
        up *= CHANGE * own.norm() / (up @ down).norm()
        rows, columns = (
            own.norm(dim=axis) * (1 + CHANGE / 5 * torch.randn(own.shape[1 - axis], generator=draw))
            for axis in (1, 0)
        )
        modules[name] = LowRank(
            down,
            up / 1.5,
            1.5,
            rows if kind in ("dora", "bora") else None,
            columns if kind in ("dora-cols", "bora") else None,
        )
    return LowRankAdapter(modules)
