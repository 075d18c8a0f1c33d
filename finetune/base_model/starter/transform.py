"""Start the autoencoder as a linear transform codec instead of noise, so that minutes of training suffice.

Each patch is described by its first Karhunen-Loève coefficients; eight attention heads, each fixed by rotary phase on
one distance, carry the patches of a latent to its token and back; a second Karhunen-Loève basis keeps the latent's
channels. Training goes on from there: nothing is frozen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderSAME

from finetune.base_model.starter.geometry import AUTOENCODER, LATENT_CHANNELS, SAMPLES_PER_LATENT

PATCH = AUTOENCODER["patch_size"]
STRIDE = AUTOENCODER["encoder_strides"][0]
WIDTH = AUTOENCODER["encoder_channels"] * AUTOENCODER["encoder_c_mults"][0]
HEAD = AUTOENCODER["dim_heads"]
LEVEL = 0.05  # rms of the first coefficient inside the network, where tanh is still straight
SHARPNESS = (12.0, 7.0)  # attention logits of the two highest rotary frequencies
CONSTANT = WIDTH - 1  # the channel whose norm bias drives the fixed queries


@torch.no_grad()
def start_as_transform(model: AutoencoderSAME, sound: np.ndarray) -> None:
    """Set the weights of a fresh `model` from the statistics of `sound`, (2, samples) int16."""
    if WIDTH // HEAD != STRIDE:
        raise ValueError("one attention head per patch of a latent is needed")
    blocks = _blocks(sound)
    basis, scale = _patch_basis(blocks)
    encoder, decoder = model.encoder.blocks[0], model.decoder.blocks[0]
    _set_mapping(encoder.mapping, basis.T * scale)
    _set_mapping(decoder.mapping, basis / scale)
    _fix_heads(encoder.transformers[0], reads=[0] * STRIDE, writes=list(range(STRIDE)))
    _fix_heads(decoder.transformers[0], reads=list(range(STRIDE))[::-1], writes=[0] * STRIDE)
    slots = _slots(blocks, basis[:, :HEAD] * scale)
    directions, deviations = _principal(slots, LATENT_CHANNELS)
    model.encoder.proj.weight.copy_((directions / deviations).T)
    model.decoder.proj.weight.copy_(directions * deviations)
    for part in (model.encoder.proj, model.decoder.proj):
        part.bias.zero_()


def _blocks(sound: np.ndarray, count: int = 6000) -> torch.Tensor:
    """(count, patches, 2 · PATCH): random latents' worth of sound, laid out as the patch embedding does."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, sound.shape[1] - SAMPLES_PER_LATENT, count)
    cut = np.stack([sound[:, s : s + SAMPLES_PER_LATENT] for s in starts]).astype(np.float32) / 32767
    return (
        torch.from_numpy(cut).reshape(count, 2, STRIDE, PATCH).permute(0, 2, 1, 3).reshape(count, STRIDE, -1)
    )


def _patch_basis(blocks: torch.Tensor) -> tuple[torch.Tensor, float]:
    """(2 · PATCH, WIDTH) orthonormal columns, strongest first, and the scale that brings the first to LEVEL."""
    patches = blocks.reshape(-1, blocks.shape[-1])
    power, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    return vectors.flip(1)[:, :WIDTH], LEVEL / float(power[-1].sqrt())


def _principal(rows: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    power, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    return vectors.flip(1)[:, :count], power.flip(0)[:count].clamp(min=1e-12).sqrt()


def _slots(blocks: torch.Tensor, projection: torch.Tensor) -> torch.Tensor:
    """(count, WIDTH): what the encoder's heads collect, the last patch first."""
    return (blocks @ projection).flip(1).reshape(len(blocks), -1)


def _set_mapping(conv: Any, weight: torch.Tensor) -> None:
    """A weight-normalised 1×1 convolution: `weight` (out, in)."""
    conv.weight_v.copy_(weight[:, :, None])
    conv.weight_g.copy_(weight.norm(dim=1)[:, None, None])
    conv.bias.zero_()


def _fix_heads(block: Any, reads: list[int], writes: list[int]) -> None:
    """Head h looks h + 1 tokens back, copies the slot `reads[h]` it finds there and adds it to slot `writes[h]`."""
    attention, frequencies = block.attn, block.attn.rope.inv_freq
    half = len(frequencies)
    block.norm_attn.alpha.fill_(1.0)
    block.norm_attn.beta[CONSTANT] = 1.0
    queries, keys, values = attention.to_qkv.weight.view(3, STRIDE, HEAD, WIDTH)
    queries.mul_(0.1)
    keys[..., CONSTANT] = 0.0
    values.zero_()
    attention.to_out.weight.zero_()
    for index, sharpness in enumerate(SHARPNESS):
        amplitude = (sharpness * HEAD**0.5) ** 0.5
        attention.k_norm.beta[index] = amplitude
        attention.q_norm.gamma[[index, index + half]] = amplitude / 0.8
        for head in range(STRIDE):
            phase = frequencies[index] * (head + 1)
            for row, part in ((index, phase.cos()), (index + half, -phase.sin())):
                queries[head, row, CONSTANT] = torch.atanh(0.8 * part) / 4.0
    for head in range(STRIDE):
        for channel in range(HEAD):
            values[head, channel, reads[head] * HEAD + channel] = 1.0
            attention.to_out.weight[writes[head] * HEAD + channel, head * HEAD + channel] = 1.0
    values[..., CONSTANT] = 0.0
