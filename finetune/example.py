"""A made-up batch of given size: what a step costs does not depend on what is heard."""

from __future__ import annotations

import torch

from finetune.base_model import BaseModel, Conditions, PromptEmbedding
from finetune.batches import Batch

WORDS = 40  # tokens of a caption


def example_batch(base: BaseModel, size: int, frames: int, inpainting: bool = False) -> Batch:
    """`size` clips of `frames` latents of noise, with captions; `inpainting`: half of each is given."""
    draw = torch.Generator().manual_seed(0)
    shape = size, base.latent_channels, frames
    latents, noise = torch.randn(shape, generator=draw), torch.randn(shape, generator=draw)
    width = base.transformer.config.cond_token_dim
    words = min(WORDS, base.prompt_tokens)
    prompts = [PromptEmbedding(torch.randn(words, width, generator=draw)) for _ in range(size)]
    seconds = torch.full((size,), frames * base.samples_per_latent / base.sample_rate)
    kept_mask = torch.zeros(size, 1, frames)
    kept_mask[..., : frames // 2 if inpainting else 0] = 1
    conditions = Conditions(prompts, seconds, None, kept_mask, latents * kept_mask)
    return Batch(latents, noise, torch.rand(size, generator=draw), conditions)
