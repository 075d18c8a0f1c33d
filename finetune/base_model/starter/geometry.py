"""Sizes of the starter base: Stable Audio 3's classes, about a hundredth of its parameters."""

from __future__ import annotations

from typing import Any

TEXT_TOKENS = 64  # prompts are padded or cut to this many tokens (256 in the real base)
VOCABULARY = 512
CONDITION_WIDTH = 128
LATENT_CHANNELS = 64
SAMPLES_PER_LATENT = 1024
LONGEST_SECONDS = 12.0

AUTOENCODER: dict[str, Any] = {
    "audio_channels": 2,
    "patch_size": 512,
    "encoder_channels": 32,
    "encoder_c_mults": [6],
    "encoder_strides": [2],
    "encoder_transformer_depths": [3],
    "latent_dim": LATENT_CHANNELS,
    "use_differential_attention": False,
    "dim_heads": 24,
    "ff_mult": 3,
    "sliding_window": 2,
    "sampling_rate": 44100,
}

TRANSFORMER: dict[str, Any] = {
    "io_channels": LATENT_CHANNELS,
    "embed_dim": 192,
    "depth": 6,
    "num_heads": 3,
    "cond_token_dim": CONDITION_WIDTH,
    "global_cond_dim": CONDITION_WIDTH,
    "local_add_cond_dim": LATENT_CHANNELS + 1,
    "timestep_features_dim": 128,
    "ff_mult": 3.0,
    "num_memory_tokens": 16,
    "use_differential_attention": False,
}

DURATION: dict[str, Any] = {
    "output_dim": CONDITION_WIDTH,
    "fourier_dim": 128,
    "min_val": 0.0,
    "max_val": 384.0,
}

TEXT_ENCODER: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": CONDITION_WIDTH,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": TEXT_TOKENS,
    "layer_types": ["full_attention", "full_attention"],
    "dropout_rate": 0.0,
    "attention_dropout": 0.0,
}
