"""Regional compilation: one block of the transformer is compiled, and all others run what was made of it."""

from __future__ import annotations

import shutil
from typing import Any

import torch

VARIANTS = (
    32  # of a block: with and without gradients, of one length and of all, with and without a condition
)
COMPILERS = "c++", "g++", "clang++"


def compile_blocks(transformer: Any) -> None:
    """Have each block compiled by `torch.compile` at its first pass, for any length after the second one.

    To be called when adapters are in place, and before blocks are to be computed again. What a block keeps for the
    backward pass is the compiler's choice then.
    """
    torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
    for block in transformer.transformer_blocks:
        block.forward = torch.compile(block.forward)


def can_compile(device: torch.device) -> bool:
    """Whether there is a compiler: on a GPU Triton, which comes with PyTorch there, else one for C++."""
    return device.type != "cpu" or any(map(shutil.which, COMPILERS))
