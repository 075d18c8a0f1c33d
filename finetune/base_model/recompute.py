"""Gradient checkpointing, block by block: activations are computed again in the backward pass instead of kept.

Chen et al. 2016. Each block so treated saves its activations and costs one more forward pass of it.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint

from finetune.base_model.lean_blocks import whole


def recompute_blocks(transformer: Any, count: int, dropout: bool) -> None:
    """Have the first `count` blocks keep nothing but their input; `dropout`: adapters in them draw random numbers."""
    for block in transformer.transformer_blocks[:count]:
        forward = partial(whole, block.forward)
        block.forward = partial(checkpoint, forward, use_reentrant=False, preserve_rng_state=dropout)
