"""The sizes of SAME, the autoencoder, in its two kinds: with chunks (SAME-S) and with a sliding window (SAME-L)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from finetune.base_model.stability.section import Section

# What describes each level of resampling, with the defaults of Stability's code.
_LEVELS = {"c_mults": [1, 2, 4, 8], "strides": [2, 4, 8, 8], "transformer_depths": [3, 3, 3, 3]}


@dataclass(frozen=True)
class Chunks:
    """How SAME-S attends: within chunks of so many patches (`chunk_size`), the second half of the layers shifted by
    half a chunk. `encoder_taps`, `decoder_taps`: widths of the convolutions between patches and layers."""

    chunk_size: int
    midpoint_shift: bool
    encoder_taps: int
    decoder_taps: int


def same_geometry(pretransform: Section, sample_rate: int) -> tuple[dict[str, Any], Chunks | None, bool]:
    """Arguments of diffusers' SAME, the chunks of SAME-S, and whether latents are divided by a learned deviation."""
    pretransform.fixed("type", "autoencoder", "autoencoder")
    same = pretransform.section("config")
    channels, patch = _patches(same)
    bottleneck = same.section("bottleneck")
    bottleneck.fixed("type", "softnorm", "softnorm")
    norm = bottleneck.section("config")
    norm.off("noise_augment_dim")
    latents = same.count("latent_dim")
    encoder, decoder = (same.section(side) for side in ("encoder", "decoder"))
    decoder.off("soft_clip")
    inward, outward = encoder.section("config"), decoder.section("config")
    inward.fixed("in_channels", 2, channels * patch)
    outward.fixed("out_channels", 2, channels * patch)
    sizes = _stack(inward, latents)
    for key, value in _stack(outward, latents).items():
        if value != sizes[key]:
            raise outward.wrong(key.removeprefix("encoder_"), value, f"the encoder's {sizes[key]}")
    (stride,) = sizes["encoder_strides"]
    same.fixed("downsampling_ratio", None, patch * stride)
    chunks, window = _chunks(inward, outward, stride)
    arguments = sizes | {
        "sliding_window": window,
        "audio_channels": channels,
        "patch_size": patch,
        "latent_dim": latents,
        "encoder_sinusoidal_blocks": [0],
        "decoder_sinusoidal_blocks": [_sinusoidal(inward, outward)],
        "sampling_rate": sample_rate,
    }
    return arguments, chunks, bool(norm.get("auto_scale", False))


def _patches(same: Section) -> tuple[int, int]:
    """Channels of the audio, and samples in a patch."""
    patched = same.section("pretransform")
    patched.fixed("type", "patched", "patched")
    patch = patched.section("config")
    patch.fixed("oversampling", 1, 1)
    patch.off("postfilter_channels")
    return patch.fixed("channels", None, 2), patch.count("patch_size")


def _sinusoidal(encoder: Section, decoder: Section) -> int:
    """How many of the decoder's last layers have a sine for a gate, and one more, as Stability counts."""
    encoder.off("sinusoidal_blocks")
    blocks = decoder.get("sinusoidal_blocks", [0])
    if not isinstance(blocks, list) or not blocks or not isinstance(blocks[0], int):
        raise decoder.wrong("sinusoidal_blocks", blocks, "a list of one number")
    return blocks[0]


def _stack(stack: Section, latents: int) -> dict[str, Any]:
    """Sizes that encoder and decoder share in diffusers' class; SAME has one level of resampling."""
    stack.off(
        "conformer", "layer_scale", "causal", "feat_scale", "cross_attn", "use_snake", "use_dilated_conv"
    )
    stack.fixed("latent_dim", 32, latents)
    stack.fixed("dyt", True, True)
    stack.fixed("mapping_bias", True, True)
    stack.fixed("variable_stride", False, True)  # one learned token for all places of a latent
    levels = [stack.get(key, default) for key, default in _LEVELS.items()]
    whole = [isinstance(level, list) and len(level) == 1 and isinstance(level[0], int) for level in levels]
    if not all(whole) or min(level[0] for level in levels) < 1:
        raise stack.wrong("c_mults, strides, transformer_depths", levels, "one level of resampling")
    return {
        "encoder_channels": stack.count("channels", 128),
        **{f"encoder_{key}": level for key, level in zip(_LEVELS, levels, strict=True)},
        "dim_heads": stack.count("dim_heads", 128),
        "ff_mult": stack.count("ff_mult", 3),
        "use_differential_attention": stack.fixed("differential", True, True, False),
    }


def _chunks(encoder: Section, decoder: Section, stride: int) -> tuple[Chunks | None, int]:
    """The chunks of SAME-S, or None and the sliding window of SAME-L in latents to each side."""
    window = encoder.get("sliding_window")
    decoder.fixed("sliding_window", None, window)
    if window is not None:
        if not (
            isinstance(window, list) and len(window) == 2 and window[0] == window[1] and window[0] in range(9)
        ):
            raise encoder.wrong("sliding_window", window, "the same few latents to both sides")
        encoder.off("conv_mapping")
        decoder.off("conv_mapping")
        return None, window[0]
    size = encoder.count("chunk_size", 128)
    decoder.fixed("chunk_size", 128, size)
    shifted = bool(encoder.get("chunk_midpoint_shift", False))
    decoder.fixed("chunk_midpoint_shift", False, shifted)
    if size % stride or (shifted and size // stride % 2):
        raise encoder.wrong("chunk_size", size, f"an even multiple of the stride, {stride},")
    taps = [3 if side.get("conv_mapping", False) else 1 for side in (encoder, decoder)]
    return Chunks(size, shifted, *taps), 1
