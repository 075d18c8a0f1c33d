"""The base with an adapter folded into its weights, in the layout in which the base itself lies.

Weights stream from file to file, one tensor in memory at a time. What the adapter does not change is copied as it
is, byte for byte: other weights, configuration, licence. The text encoder's files are hard links where the disk can.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from finetune.adapter.formats.geometry import is_differential
from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.base_model.sources import is_stability
from finetune.base_model.stability.base import CONFIG, WEIGHTS, text_encoder_folder
from finetune.base_model.stability.geometry import read_geometry
from finetune.base_model.stability.keys import (
    rows_from_stability,
    rows_to_stability,
    stability_key,
    stability_module,
)
from finetune.errors import WoodshedError
from finetune.files import write_folder

Fold = Callable[[torch.Tensor], torch.Tensor]  # a stored weight → the same with the adapter in it, float32
_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_LICENCES = ("LICENSE", "LICENCE", "NOTICE")


def write(
    adapter: LowRankAdapter, root: Path, folder: Path, dtype: torch.dtype | None, header: Mapping[str, str]
) -> None:
    """Write into `folder` the base in `root` with the adapter in it; `folder` comes into being whole or not at all.

    `dtype` is that of the weights that the adapter changes, None for the base's own. Raises WoodshedError unless every
    module of the adapter is found.
    """
    with write_folder(folder) as beside:
        if is_stability(root):
            _write_stability(adapter, root, beside, dtype, header)
        else:
            _write_diffusers(adapter, root, beside, dtype, header)


def stored_dtype(root: Path) -> torch.dtype | None:
    """The number format of the transformer's weights in the base's files."""
    key = "transformer.proj_in.weight"
    files = [root / WEIGHTS] if is_stability(root) else sorted((root / "transformer").glob("*.safetensors"))
    name = stability_key(key) if is_stability(root) else key.removeprefix("transformer.")
    for path in files:
        with safe_open(path, framework="pt") as file:
            if name in file.keys():  # noqa: SIM118 (no mapping)
                return file.get_tensor(name).dtype
    return None


def _write_stability(
    adapter: LowRankAdapter, root: Path, new: Path, dtype: torch.dtype | None, header: Mapping[str, str]
) -> None:
    changed = {
        f"{stability_module(m)}.weight": _in_their_rows(m, part) for m, part in adapter.modules.items()
    }
    shutil.copyfile(root / CONFIG, new / CONFIG)
    for path in root.iterdir():
        if path.is_file() and path.name.upper().startswith(_LICENCES):
            shutil.copyfile(path, new / path.name)
    geometry = read_geometry(root / CONFIG)
    _link_tree(text_encoder_folder(root, geometry, fetch=False), new / geometry.text_folder)
    _check_found(_rewrite(root / WEIGHTS, new / WEIGHTS, changed, dtype, header), changed, root / WEIGHTS)


def _write_diffusers(
    adapter: LowRankAdapter, root: Path, new: Path, dtype: torch.dtype | None, header: Mapping[str, str]
) -> None:
    _link_tree(root, new)
    for part in ("transformer", "duration_embedder"):
        own = {m: low for m, low in adapter.modules.items() if m.startswith(f"{part}.")}
        changed = {f"{m.removeprefix(part + '.')}.weight": _in_our_rows(m, low) for m, low in own.items()}
        found: set[str] = set()
        for path in sorted((root / part).glob("*.safetensors")) if own else ():
            (new / part / path.name).unlink()
            found |= _rewrite(path, new / part / path.name, changed, dtype, header)
        _check_found(found, changed, root / part)


def _in_our_rows(module: str, part: LowRank) -> Fold:
    def fold(stored: torch.Tensor) -> torch.Tensor:
        own = stored.flatten(1).shape
        if own != (len(part.up), part.down.shape[1]):
            raise WoodshedError(
                f"The adapter is for another base: {module} is {len(part.up)}×{part.down.shape[1]} there and "
                f"{own[0]}×{own[1]} here."
            )
        return part.merged(stored)

    return fold


def _in_their_rows(module: str, part: LowRank) -> Fold:
    def fold(stored: torch.Tensor) -> torch.Tensor:
        differential = is_differential(part)
        ours = rows_from_stability(module, stored, differential)
        return rows_to_stability(module, _in_our_rows(module, part)(ours), differential)

    return fold


def _check_found(found: set[str], wanted: Mapping[str, Fold], path: Path) -> None:
    missing = sorted(set(wanted) - found)
    if missing:
        raise WoodshedError(
            f"The adapter is for another base: {len(missing)} of the {len(wanted)} weights that it changes are not in "
            f"'{path}', for instance {missing[0]}."
        )


def _rewrite(
    source: Path,
    target: Path,
    changed: Mapping[str, Fold],
    dtype: torch.dtype | None,
    header: Mapping[str, str],
) -> set[str]:
    """Write `target` as `source` with the weights named in `changed` folded, one by one. Returns those that were
    found."""
    with safe_open(source, framework="pt") as file, target.open("wb") as out:
        names = list(file.keys())
        kinds = {name: file.get_slice(name).get_dtype() for name in names}
        found = changed.keys() & kinds.keys()
        if dtype is not None:
            kinds |= dict.fromkeys(found, _NAMES[dtype])
        names.sort(key=lambda name: -_BYTES[kinds[name]])  # wide numbers first keeps every tensor aligned
        entries: dict[str, Any] = {"__metadata__": (file.metadata() or {}) | dict(header)}
        end = 0
        for name in names:
            shape = file.get_slice(name).get_shape()
            start, end = end, end + math.prod(shape) * _BYTES[kinds[name]]
            entries[name] = {"dtype": kinds[name], "shape": shape, "data_offsets": [start, end]}
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        out.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            tensor = file.get_tensor(name)
            if name in found:
                tensor = changed[name](tensor).to(dtype or tensor.dtype)
            out.write(memoryview(tensor.contiguous().flatten().view(torch.uint8).numpy()))
    return set(found)


def _link_tree(source: Path, target: Path) -> None:
    """A folder of the same files, linked where the disk can, else copied."""
    for path in sorted(source.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(source).parts):
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path.resolve(), place)
            except OSError:
                shutil.copyfile(path, place)
