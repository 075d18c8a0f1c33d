"""How many blocks must compute their activations again, so that a training step fits the memory there is.

One block is measured: what autograd keeps of it, and its input. Everything else follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from data_prep.dataset import Clip
from finetune.adapter import Adapter
from finetune.base_model import BaseModel
from finetune.batches import Batch, make_buckets
from finetune.crops import make_crops
from finetune.example import example_batch
from finetune.latents import EncodedClip
from finetune.loss import batch_loss
from finetune.memory import available, counting_kept
from finetune.optimizer import STATE_BYTES
from finetune.recipe import Recipe

SILENCE_MEANS = 6  # silence is encoded up to this many times its mean length; longer draws are 1 in 400
USED_SHARE = 0.85  # of the memory there is: the rest is for what is not counted


@dataclass(frozen=True)
class BlockBytes:
    """Of one transformer block and one batch: what is `kept` for the backward pass, and the `input` alone."""

    kept: int
    input: int
    blocks: int

    def step(self, recomputed: int) -> int:
        """Bytes of activations in a step: kept ones, inputs of recomputed blocks, and one block at work."""
        plain = self.blocks - recomputed
        return plain * self.kept + recomputed * self.input + self.kept


def fitting_blocks(recipe: Recipe, base: BaseModel, adapter: Adapter, clips: Sequence[Clip]) -> int:
    """How many blocks to recompute by `training.gradient_checkpointing`: all, none, or as many as memory asks for."""
    blocks = len(base.transformer.transformer_blocks)
    if recipe.training.gradient_checkpointing != "auto":
        return blocks if recipe.training.gradient_checkpointing == "on" else 0
    batch = example_batch(base, *largest_batch(recipe, base, clips), inpainting=True)
    room = USED_SHARE * available(base.device) - adapter_bytes(recipe, adapter)
    measured = block_bytes(base, batch)
    return next((n for n in range(blocks) if measured.step(n) <= room), blocks)


def adapter_bytes(recipe: Recipe, adapter: Adapter) -> int:
    """Bytes of gradients, optimizer state and moving average."""
    weights = sum(parameter.numel() for parameter in adapter.parameters())
    return weights * (4 + STATE_BYTES[recipe.optimizer.name] + (4 if recipe.training.ema else 0))


def largest_batch(recipe: Recipe, base: BaseModel, clips: Sequence[Clip]) -> tuple[int, int]:
    """How many clips, and how many latents of each, silence after them included, in the largest batch that can come."""
    crops = make_crops(base, recipe.data)
    trained = [
        EncodedClip(clip, base.seconds_to_frames(clip.seconds), Path())
        for clip in clips
        if clip.split == "train"
    ]
    silence = base.seconds_to_frames(SILENCE_MEANS * recipe.training.silence_seconds)
    sizes = []
    for bucket in make_buckets(crops, trained):
        frames = crops.frames(bucket[0])
        if recipe.data.length == "whole" and bucket[0].frames == frames:
            frames = max(frames, min(frames + silence, crops.most))
        sizes.append((min(recipe.training.batch_size, len(bucket)), max(2, frames)))
    return max(sizes, key=lambda size: size[0] * size[1])


def block_bytes(base: BaseModel, batch: Batch) -> BlockBytes:
    """Measure one block in a forward pass of `batch` that keeps nothing else."""
    block = base.transformer.transformer_blocks[0]
    found: list[BlockBytes] = []
    forward = block.forward

    def watched(hidden: torch.Tensor, **others: Any) -> torch.Tensor:
        with torch.enable_grad(), counting_kept() as kept:
            forward(hidden.detach().requires_grad_(), **others)
        found.append(BlockBytes(kept.bytes, hidden.nbytes, len(base.transformer.transformer_blocks)))
        return forward(hidden, **others)

    block.forward = watched
    try:
        with torch.no_grad():
            batch_loss(base, batch)
    finally:
        block.forward = forward
    return found[0]
