"""Adapters in the files of every program that plays Stable Audio 3: one module for each, one form in memory.

`LowRankAdapter` is that form. Its `facts` always hold `format`; see `metadata.facts_of` for the others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from finetune.adapter.formats import comfyui, diffusers, peft, stability
from finetune.adapter.formats.detect import Format, find_adapter, locate
from finetune.adapter.formats.metadata import facts_of, header_of
from finetune.adapter.formats.tensors import read_header, read_tensors, write_tensors
from finetune.adapter.low_rank import LowRankAdapter
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError

__all__ = [
    "DTYPES",
    "FORMATS",
    "Format",
    "find_adapter",
    "locate",
    "read_adapter",
    "read_facts",
    "write_adapter",
]

FORMATS: tuple[Format, ...] = ("peft", "diffusers", "stable-audio-3", "comfyui")
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def read_adapter(path: Path, base: BaseModel | None = None) -> LowRankAdapter:
    """The adapter of a run, a PEFT folder, or a .safetensors file of any program, told by its content.

    `base` is needed for what is stored relative to the weights of its base: Stability's `-xs` kinds, and a DoRA that
    Woodshed wrote for ComfyUI; a WoodshedError says so. Others are read without. WoodshedError for everything that
    is not a whole adapter: pickles, damage, NaN, other layouts, tensors that nothing is known of.
    """
    format, place = locate(path)
    if format == "peft":
        adapter = peft.read(place)
    else:
        stored = read_tensors(place)
        if format == "diffusers":
            adapter = diffusers.decode(stored)
        elif format == "stable-audio-3":
            adapter = stability.decode(stored, base)
        else:
            adapter = comfyui.decode(stored, base)
    if not adapter.modules:
        raise WoodshedError(f"'{path}' holds no adapter's weights.")
    return replace(adapter, facts=facts_of(adapter.facts, format))


def read_facts(path: Path) -> dict[str, str]:
    """The facts of `read_adapter`, from the header alone."""
    format, place = locate(path)
    header, _ = read_header(place / peft.WEIGHTS if format == "peft" else place)
    return facts_of(header, format)


def write_adapter(
    adapter: LowRankAdapter, format: Format, path: Path, dtype: torch.dtype, base: BaseModel | None = None
) -> list[str]:
    """Write `path`, a folder for PEFT and a .safetensors file else, whole or not at all.

    Returns what had to be rewritten to fit the program, in sentences. `base` is needed for a DoRA in ComfyUI's form.
    Raises WoodshedError for what the program cannot hold, before anything is written.
    """
    if format == "peft":
        return peft.write(adapter, path, dtype, header_of(adapter, diffusers.IMPLEMENTATION))
    if format == "diffusers":
        encoded, program = diffusers.encode(adapter, dtype), diffusers.IMPLEMENTATION
    elif format == "stable-audio-3":
        encoded, program = stability.encode(adapter, dtype), stability.IMPLEMENTATION
    else:
        encoded, program = comfyui.encode(adapter, dtype, base), comfyui.IMPLEMENTATION
    write_tensors(path, encoded.tensors, header_of(adapter, program) | encoded.header)
    return encoded.notes
