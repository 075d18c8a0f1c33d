"""Bases of the published sizes with random weights: what a step costs can be measured without having one.

There is no autoencoder and no text encoder, as in training.
"""

from __future__ import annotations

from typing import Any

import torch

from finetune.base_model.model import BaseModel
from finetune.base_model.rotary import rotary_frequencies
from finetune.base_model.storage import Precision, is_packed, pack, types_of
from finetune.memory import free_at_once

SIZES: dict[str, dict[str, Any]] = {
    "small": {"embed_dim": 1024, "depth": 20, "num_heads": 16, "use_differential_attention": False},
    "medium": {"embed_dim": 1536, "depth": 24, "num_heads": 24, "use_differential_attention": True},
}


def random_base(size: str, precision: Precision, device: torch.device) -> BaseModel:
    """A base of `size`, small or medium, as `load_frozen` would give one."""
    from diffusers import StableAudio3DiTModel
    from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder

    free_at_once()
    geometry = SIZES[size]
    with torch.device("meta"):
        transformer: Any = StableAudio3DiTModel(**geometry)
    stored, compute = types_of(precision, device)
    place = device if precision in ("float32", "bfloat16") else torch.device("cpu")
    torch.nn.Module.to(transformer, stored).to_empty(device=place)
    _draw(transformer)
    head = geometry["embed_dim"] // geometry["num_heads"]
    transformer.rotary_pos_emb.inv_freq = rotary_frequencies(max(head // 2, 32)).to(place)
    if is_packed(precision, device):
        pack(transformer, precision, compute)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        embedder: Any = StableAudio3DurationEmbedder()
    return BaseModel(
        name=size,
        fingerprint="random",
        post_trained=False,
        transformer=transformer.eval().requires_grad_(False).to(device),
        duration_embedder=embedder.to(device).eval().requires_grad_(False),
        autoencoder=None,
        text_encoder=None,
        tokenizer=None,
        sample_rate=44100,
        samples_per_latent=4096,
        latent_channels=256,
        prompt_tokens=256,
        rounded=stored != compute,
    )


@torch.no_grad()
def _draw(transformer: torch.nn.Module) -> None:
    """Uniform weights that keep activations near one; gains of one."""
    generator = torch.Generator(next(transformer.parameters()).device).manual_seed(0)
    for name, parameter in transformer.named_parameters():
        if name.endswith("gamma"):
            parameter.fill_(1)
        else:
            bound = (3 / parameter.flatten(1).shape[1]) ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.uniform_(-bound, bound, generator=generator)
