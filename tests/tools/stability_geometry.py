"""Names and shapes of everything in a Stable Audio 3 checkpoint as Stability publishes it, and its model_config.json.

Real checkpoints are gated, so this is put together from what is public in Stability's repository: its classes (names,
shapes), the constants of its MLX port (widths, depths, kernel sizes, sliding window, sinusoidal blocks, layout of the
text encoder) and the published parameter counts, which the sizes below meet: DiT 459.1 M and 1453.2 M, SAME 108.2 M
and 852.1 M, text encoder 281.6 M. Inferred, since no published config was at hand: the spelling of optional entries
that do not change a shape, `mask_noise` and `noise_regularize` (the size of the noise), the `training` section, and
that the text encoder's file holds the encoder alone. The two tiny geometries are the same mechanisms in miniature,
with other lengths (prompt tokens, longest seconds, samples per latent), so that nothing can be hard-coded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Shapes = dict[str, tuple[int, ...]]
CONDITION_WIDTH = 768  # of T5Gemma b-b; Stability's conditioner knows no other
FOURIER_CHANNELS = 256
FEED_FORWARD = 4  # times the DiT's width
SAME_FEED_FORWARD = 3
PATCHED_CHANNELS = 2  # stereo
TEXT_FOLDER = "t5gemma-b-b-ul2"


@dataclass(frozen=True)
class Geometry:
    """Sizes of one checkpoint. `sliding`: SAME-L (a window of one latent to each side), else SAME-S (chunks)."""

    width: int
    depth: int
    heads: int
    differential: bool
    memory_tokens: int
    latent_channels: int
    same_channels: int  # a sixth of SAME's width
    same_depth: int
    same_head: int
    patch: int
    sliding: bool
    sinusoidal_blocks: int
    prompt_tokens: int
    longest_seconds: int
    hub_name: str
    text_layers: int
    text_heads: int
    text_head: int
    text_inner: int
    vocabulary: int
    stride: int = 16

    @property
    def same_width(self) -> int:
        return 6 * self.same_channels

    @property
    def samples_per_latent(self) -> int:
        return self.patch * self.stride


def _published(**sizes: Any) -> Geometry:
    return Geometry(
        memory_tokens=64,
        latent_channels=256,
        same_head=64,
        patch=256,
        prompt_tokens=256,
        longest_seconds=384,
        text_layers=12,
        text_heads=12,
        text_head=64,
        text_inner=2048,
        vocabulary=256000,
        **sizes,
    )


def _tiny(**sizes: Any) -> Geometry:
    return Geometry(
        width=64,
        depth=2,
        heads=2,
        memory_tokens=4,
        latent_channels=8,
        same_channels=8,
        same_head=16,
        patch=4,
        text_layers=1,
        text_heads=2,
        text_head=32,
        text_inner=64,
        vocabulary=512,
        **sizes,
    )


GEOMETRIES = {
    "small": _published(
        width=1024,
        depth=20,
        heads=16,
        differential=False,
        same_channels=128,
        same_depth=6,
        sliding=False,
        sinusoidal_blocks=0,
        hub_name="small-music",
    ),
    "medium": _published(
        width=1536,
        depth=24,
        heads=24,
        differential=True,
        same_channels=256,
        same_depth=12,
        sliding=True,
        sinusoidal_blocks=8,
        hub_name="medium",
    ),
    "tiny": _tiny(
        differential=False,
        same_depth=2,
        sliding=False,
        sinusoidal_blocks=0,
        prompt_tokens=24,
        longest_seconds=384,
        hub_name="small-music",
    ),
    "tiny-medium": _tiny(
        differential=True,
        same_depth=3,
        sliding=True,
        sinusoidal_blocks=3,
        prompt_tokens=256,
        longest_seconds=512,
        hub_name="medium",
    ),
}


def checkpoint_shapes(geometry: Geometry) -> Shapes:
    """Every tensor of `model.safetensors`, in the order of the file."""
    shapes = {f"model.model.{name}": shape for name, shape in dit_shapes(geometry).items()}
    shapes["conditioner.conditioners.prompt.padding_embedding"] = (CONDITION_WIDTH,)
    embedder = "conditioner.conditioners.seconds_total.embedder.embedding.1"
    shapes |= _linear(embedder, FOURIER_CHANNELS, CONDITION_WIDTH)
    return shapes | {f"pretransform.model.{name}": shape for name, shape in same_shapes(geometry).items()}


def dit_shapes(geometry: Geometry) -> Shapes:
    width, channels = geometry.width, geometry.latent_channels
    shapes: Shapes = {"transformer.memory_tokens": (geometry.memory_tokens, width)}
    for name, inputs, bias in (
        ("to_timestep_embed", FOURIER_CHANNELS, True),
        ("to_cond_embed", CONDITION_WIDTH, False),
        ("to_global_embed", CONDITION_WIDTH, False),
    ):
        shapes |= _linear(f"{name}.0", inputs, width, bias) | _linear(f"{name}.2", width, width, bias)
    shapes |= _linear("transformer.project_in", channels, width, bias=False)
    shapes |= _linear("transformer.project_out", width, channels, bias=False)
    rotary = max(width // geometry.heads // 2, 32)
    shapes["transformer.rotary_pos_emb.inv_freq"] = (rotary // 2,)
    shapes |= _linear("transformer.global_cond_embedder.0", width, width)
    shapes |= _linear("transformer.global_cond_embedder.2", width, 6 * width)
    for layer in range(geometry.depth):
        shapes |= _dit_block(f"transformer.layers.{layer}", geometry)
    shapes["preprocess_conv.weight"] = shapes["postprocess_conv.weight"] = (channels, channels, 1)
    return shapes


def _dit_block(name: str, geometry: Geometry) -> Shapes:
    width, head = geometry.width, geometry.width // geometry.heads
    fused, queries, keys = (5, 2, 3) if geometry.differential else (3, 1, 2)
    shapes: Shapes = {
        f"{name}.{norm}.gamma": (width,) for norm in ("pre_norm", "cross_attend_norm", "ff_norm")
    }
    shapes |= _linear(f"{name}.self_attn.to_qkv", width, fused * width, bias=False)
    shapes |= _linear(f"{name}.cross_attn.to_q", width, queries * width, bias=False)
    shapes |= _linear(f"{name}.cross_attn.to_kv", width, keys * width, bias=False)
    for attention in ("self_attn", "cross_attn"):
        shapes |= _linear(f"{name}.{attention}.to_out", width, width, bias=False)
        shapes |= {f"{name}.{attention}.{norm}.gamma": (head,) for norm in ("q_norm", "k_norm")}
    shapes |= _feed_forward(name, width, FEED_FORWARD)
    shapes[f"{name}.to_scale_shift_gate"] = (6 * width,)
    shapes |= _linear(f"{name}.to_local_embed.0", geometry.latent_channels + 1, width)
    return shapes | _linear(f"{name}.to_local_embed.2", width, width)


def same_shapes(geometry: Geometry) -> Shapes:
    width, channels = geometry.same_width, geometry.latent_channels
    patched = PATCHED_CHANNELS * geometry.patch
    shapes: Shapes = {
        "bottleneck.scaling_factor": (1, channels, 1),
        "bottleneck.bias": (1, channels, 1),
        "bottleneck.noise_scaling_factor": (1, 0, 1),
        "bottleneck.running_std": (1,),
    }
    shapes |= _same_stack("encoder.layers.0", geometry, patched, width, taps=1)
    shapes |= _linear("encoder.layers.2", width, channels)
    shapes |= _linear("decoder.layers.1", channels, width)
    return shapes | _same_stack(
        "decoder.layers.3", geometry, width, patched, taps=1 if geometry.sliding else 3
    )


def _same_stack(name: str, geometry: Geometry, inputs: int, outputs: int, taps: int) -> Shapes:
    """One resampling stack: a weight-normed convolution between patches and width, and its transformer blocks."""
    width, head = geometry.same_width, geometry.same_head
    shapes: Shapes = {
        f"{name}.new_tokens": (1, 1, width),
        f"{name}.mapping.bias": (outputs,),
        f"{name}.mapping.weight_g": (outputs, 1, 1),
        f"{name}.mapping.weight_v": (outputs, inputs, taps),
    }
    for layer in range(geometry.same_depth):
        block = f"{name}.transformers.{layer}"
        shapes |= _dynamic_tanh(f"{block}.pre_norm", width) | _dynamic_tanh(f"{block}.ff_norm", width)
        shapes |= _linear(f"{block}.self_attn.to_qkv", width, 5 * width, bias=False)
        shapes |= _linear(f"{block}.self_attn.to_out", width, width, bias=False)
        shapes |= _dynamic_tanh(f"{block}.self_attn.q_norm", head)
        shapes |= _dynamic_tanh(f"{block}.self_attn.k_norm", head)
        shapes |= _feed_forward(block, width, SAME_FEED_FORWARD)
        shapes[f"{block}.rope.inv_freq"] = (head // 4,)
    return shapes


def _linear(name: str, inputs: int, outputs: int, bias: bool = True) -> Shapes:
    weight: Shapes = {f"{name}.weight": (outputs, inputs)}
    return weight | {f"{name}.bias": (outputs,)} if bias else weight


def _feed_forward(block: str, width: int, times: int) -> Shapes:
    gated = _linear(f"{block}.ff.ff.0.proj", width, 2 * times * width)
    return gated | _linear(f"{block}.ff.ff.2", times * width, width)


def _dynamic_tanh(name: str, channels: int) -> Shapes:
    return {f"{name}.alpha": (1,), f"{name}.gamma": (channels,), f"{name}.beta": (channels,)}


def text_encoder_shapes(geometry: Geometry) -> Shapes:
    width, attention = CONDITION_WIDTH, geometry.text_heads * geometry.text_head
    shapes: Shapes = {
        "encoder.embed_tokens.weight": (geometry.vocabulary, width),
        "encoder.norm.weight": (width,),
    }
    for layer in range(geometry.text_layers):
        block = f"encoder.layers.{layer}"
        for norm in ("pre_self_attn", "post_self_attn", "pre_feedforward", "post_feedforward"):
            shapes[f"{block}.{norm}_layernorm.weight"] = (width,)
        for projection in "qkv":
            shapes |= _linear(f"{block}.self_attn.{projection}_proj", width, attention, bias=False)
        shapes |= _linear(f"{block}.self_attn.o_proj", attention, width, bias=False)
        for projection in ("gate", "up"):
            shapes |= _linear(f"{block}.mlp.{projection}_proj", width, geometry.text_inner, bias=False)
        shapes |= _linear(f"{block}.mlp.down_proj", geometry.text_inner, width, bias=False)
    return shapes


def text_encoder_config(geometry: Geometry) -> dict[str, Any]:
    """T5Gemma's config.json as Google publishes it: of an encoder and a decoder, of which only the first is here."""
    module = {
        "model_type": "t5_gemma_module",
        "hidden_size": CONDITION_WIDTH,
        "num_hidden_layers": geometry.text_layers,
        "num_attention_heads": geometry.text_heads,
        "num_key_value_heads": geometry.text_heads,
        "head_dim": geometry.text_head,
        "query_pre_attn_scalar": geometry.text_head,
        "intermediate_size": geometry.text_inner,
        "vocab_size": geometry.vocabulary,
        "dropout_rate": 0.0,
        "layer_types": [
            ("sliding_attention", "full_attention")[layer % 2] for layer in range(geometry.text_layers)
        ],
    }
    return {
        "architectures": ["T5GemmaForConditionalGeneration"],
        "model_type": "t5gemma",
        "is_encoder_decoder": True,
        "vocab_size": geometry.vocabulary,
        "encoder": module,
        "decoder": module | {"is_decoder": True, "cross_attention_hidden_size": CONDITION_WIDTH},
    }


def model_config(geometry: Geometry, objective: str) -> dict[str, Any]:
    """`model_config.json`; `objective` is `rectified_flow` (a base) or `rf_denoiser` (post-trained)."""
    return {
        "model_type": "diffusion_cond_inpaint",
        "sample_size": geometry.samples_per_latent * 1280,
        "sample_rate": 44100,
        "audio_channels": PATCHED_CHANNELS,
        "model": {
            "io_channels": geometry.latent_channels,
            "pretransform": {
                "type": "autoencoder",
                "iterate_batch": True,
                "chunked": True,
                "config": _same_config(geometry),
            },
            "conditioning": _conditioning_config(geometry),
            "diffusion": _diffusion_config(geometry, objective),
        },
        "training": _training_config(),
    }


def _same_config(geometry: Geometry) -> dict[str, Any]:
    stack: dict[str, Any] = {
        "channels": geometry.same_channels,
        "c_mults": [6],
        "strides": [geometry.stride],
        "latent_dim": geometry.latent_channels,
        "transformer_depths": [geometry.same_depth],
        "dim_heads": geometry.same_head,
        "ff_mult": SAME_FEED_FORWARD,
        "differential": True,
        "variable_stride": True,
        "dyt": True,
    }
    if geometry.sliding:
        stack["sliding_window"] = [1, 1]
    else:
        stack |= {"chunk_size": 32, "chunk_midpoint_shift": True}
    patched = PATCHED_CHANNELS * geometry.patch
    decoder = stack | {
        "out_channels": patched,
        "sinusoidal_blocks": [geometry.sinusoidal_blocks],
        "conv_mapping": not geometry.sliding,
        "mask_noise": 0.01,
    }
    return {
        "encoder": {"type": "same", "config": stack | {"in_channels": patched, "mask_noise": 0.01}},
        "decoder": {"type": "same", "config": decoder},
        "bottleneck": {
            "type": "softnorm",
            "config": {"dim": geometry.latent_channels, "auto_scale": True, "noise_regularize": True},
        },
        "pretransform": {
            "type": "patched",
            "config": {"channels": PATCHED_CHANNELS, "patch_size": geometry.patch},
        },
        "latent_dim": geometry.latent_channels,
        "downsampling_ratio": geometry.samples_per_latent,
        "io_channels": PATCHED_CHANNELS,
    }


def _conditioning_config(geometry: Geometry) -> dict[str, Any]:
    prompt = {
        "model_name": "google/t5gemma-b-b-ul2",
        "repo_id": f"stabilityai/stable-audio-3-{geometry.hub_name}",
        "subfolder": TEXT_FOLDER,
        "max_length": geometry.prompt_tokens,
        "padding_mode": "learned",
    }
    seconds = {"min_val": 0, "max_val": geometry.longest_seconds, "fourier_features_type": "expo"}
    return {
        "cond_dim": CONDITION_WIDTH,
        "configs": [
            {"id": "prompt", "type": "t5gemma", "config": prompt},
            {"id": "seconds_total", "type": "number", "config": seconds},
        ],
    }


def _diffusion_config(geometry: Geometry, objective: str) -> dict[str, Any]:
    return {
        "type": "dit",
        "diffusion_objective": objective,
        "cross_attention_cond_ids": ["prompt", "seconds_total"],
        "global_cond_ids": ["seconds_total"],
        "local_add_cond_ids": ["inpaint_mask", "inpaint_masked_input"],
        "distribution_shift_options": {
            "type": "full",
            "base_shift": 0.5,
            "max_shift": 1.15,
            "min_length": 256,
            "max_length": 4096,
        },
        "use_effective_length_for_schedule": True,
        "mask_padding_attention": True,
        "config": {
            "io_channels": geometry.latent_channels,
            "embed_dim": geometry.width,
            "depth": geometry.depth,
            "num_heads": geometry.heads,
            "cond_token_dim": CONDITION_WIDTH,
            "global_cond_dim": CONDITION_WIDTH,
            "local_add_cond_dim": geometry.latent_channels + 1,
            "transformer_type": "continuous_transformer",
            "global_cond_type": "adaLN",
            "timestep_features_type": "expo",
            "timestep_features_dim": FOURIER_CHANNELS,
            "norm_type": "rms_norm",
            "num_memory_tokens": geometry.memory_tokens,
            "attn_kwargs": {"qk_norm": "rms", "differential": geometry.differential},
            "ff_kwargs": {"mult": FEED_FORWARD},
        },
    }


def _training_config() -> dict[str, Any]:
    return {
        "timestep_sampler": "trunc_logit_normal",
        "cfg_dropout_prob": 0.1,
        "mask_loss_weight": 1.0,
        "silence_extension_scale_seconds": 4.0,
        "ot_coupling": True,
        "inpainting": {"mask_kwargs": {"mask_type_probabilities": [0.1, 0.8, 0.1]}},
        "demo": {"demo_steps": 50, "demo_cfg_scales": [2, 4, 7]},
    }
