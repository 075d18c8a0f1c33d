"""What a base predicts for fixed inputs: two models are the same where these are."""

from __future__ import annotations

import torch

from finetune.base_model import BaseModel, Conditions, PromptEmbedding

FRAMES, TOKENS = 24, (3, 7)
TIMES, SECONDS = (0.2, 0.8), (4.0, 47.0)


@torch.no_grad()
def probe(base: BaseModel) -> torch.Tensor:
    """(2, channels, FRAMES) float32 velocities on the CPU: noise, words and lengths come from a seed. The encoders of
    the base are not needed."""
    draw = torch.Generator().manual_seed(0)
    noisy = torch.randn(len(TIMES), base.latent_channels, FRAMES, generator=draw)
    width = base.transformer.config.cond_token_dim
    prompts = [PromptEmbedding(torch.randn(n, width, generator=draw).to(base.device)) for n in TOKENS]
    dtype = base.dtype
    predicted = base.velocity(
        noisy.to(base.device, dtype),
        torch.tensor(TIMES, device=base.device),
        Conditions(prompts, torch.tensor(SECONDS)),
    )
    return predicted.float().cpu()
