"""Bases of a few thousand weights without encoders, plain and differential, and random adapters for them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.base_model import BaseModel, Conditions, PromptEmbedding

CHANNELS, WIDTH, BLOCKS, TEXT = 4, 32, 2, 16
INSIDE = ("self_attn.to_qkv", "self_attn.to_out", "cross_attn.to_q", "cross_attn.to_kv", "cross_attn.to_out",
          "ff.proj_in", "ff.proj_out")  # fmt: skip
OUTSIDE = ("to_cond_embed.0", "to_global_embed.2", "proj_in", "preprocess_conv", "postprocess_conv")
FACTS = {
    "base": "stabilityai/stable-audio-3-small-music-base",
    "base_fingerprint": "a" * 64,
    "trigger": "mykit",
    "licence": "Stability AI Community License",
    "title": "mykit",
    "woodshed": '{"base": "stabilityai/stable-audio-3-small-music-base", "base_fingerprint": "'
    + "a" * 64
    + '"}',
}


def little_base(differential: bool, seed: int = 0) -> BaseModel:
    """A base that predicts velocities and has no encoders."""
    from diffusers import StableAudio3DiTModel
    from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder

    torch.manual_seed(seed)
    transformer: Any = StableAudio3DiTModel(
        io_channels=CHANNELS,
        embed_dim=WIDTH,
        depth=BLOCKS,
        num_heads=2,
        cond_token_dim=TEXT,
        global_cond_dim=TEXT,
        local_add_cond_dim=CHANNELS + 1,
        timestep_features_dim=16,
        ff_mult=2.0,
        num_memory_tokens=2,
        use_differential_attention=differential,
    )
    duration: Any = StableAudio3DurationEmbedder(output_dim=TEXT, fourier_dim=8, min_val=0.0, max_val=384.0)
    with torch.no_grad():
        for parameter in [*transformer.parameters(), *duration.parameters()]:
            parameter.add_(torch.randn_like(parameter) * 0.1)
    parts: dict[str, Any] = {"transformer": transformer.eval(), "duration_embedder": duration.eval()}
    numbers = {
        "sample_rate": 44100,
        "samples_per_latent": 4096,
        "latent_channels": CHANNELS,
        "prompt_tokens": 8,
    }
    nothing = dict.fromkeys(("autoencoder", "text_encoder", "tokenizer"))
    return BaseModel(name="little", fingerprint="0" * 64, post_trained=False, **parts, **nothing, **numbers)


def modules(base: BaseModel, duration: bool = True) -> list[str]:
    """Modules of the base that adapters change: in the blocks, around them, and the duration embedder."""
    names = [f"transformer_blocks.{block}.{name}" for block in range(BLOCKS) for name in INSIDE] + list(
        OUTSIDE
    )
    own = dict(base.transformer.named_modules())
    return [f"transformer.{n}" for n in names if n in own] + ["duration_embedder.linear"] * duration


def random_adapter(
    base: BaseModel, kind: str = "lora", ranks: tuple[int, ...] = (4,), scales: tuple[float, ...] = (0.5,),
    names: list[str] | None = None, seed: int = 1,
) -> LowRankAdapter:  # fmt: skip
    """An adapter of `kind` whose ranks and scales go round through the modules; magnitudes 10 % off the base's own."""
    draw = torch.Generator().manual_seed(seed)
    made = {}
    for number, module in enumerate(names or modules(base)):
        weight = base.trainable_parts.get_submodule(module).weight.detach().flatten(1)  # type: ignore[operator]
        rank = ranks[number % len(ranks)]
        rows, columns = (
            weight.norm(dim=axis) * (1 + 0.1 * torch.randn(weight.shape[1 - axis], generator=draw))
            for axis in (1, 0)
        )
        made[module] = LowRank(
            torch.randn(rank, weight.shape[1], generator=draw) * 0.3,
            torch.randn(weight.shape[0], rank, generator=draw) * 0.1,
            scales[number % len(scales)],
            rows if kind in ("dora", "bora") else None,
            columns if kind in ("dora-cols", "bora") else None,
        )
    return LowRankAdapter(made, dict(FACTS))


def predict(base: BaseModel) -> torch.Tensor:
    """What the base makes of two fixed inputs."""
    draw = torch.Generator().manual_seed(0)
    noisy = torch.randn(2, CHANNELS, 6, generator=draw)
    prompts = [PromptEmbedding(torch.randn(n, TEXT, generator=draw)) for n in (2, 4)]
    with torch.no_grad():
        return base.velocity(noisy, torch.tensor([0.3, 0.8]), Conditions(prompts, torch.tensor([1.0, 5.0])))


def merge(base: BaseModel, adapter: LowRankAdapter) -> None:
    """Fold the adapter into the base's weights."""
    with torch.no_grad():
        for module, part in adapter.modules.items():
            linear: nn.Module = base.trainable_parts.get_submodule(module)
            linear.weight.copy_(part.merged(linear.weight))  # type: ignore[operator, arg-type]
