"""Start the autoencoder as a transform codec instead of noise, so that minutes of training suffice.

Each patch is described by its first Karhunen-Loève coefficients. Attention heads, each fixed by rotary phase on one
distance, carry the two patches of a latent to its token, where a second Karhunen-Loève basis keeps what the latent
holds; the decoder goes the same way back. Between them every channel is companded: an attack is hundreds of times
louder than the tail before it, and both must survive the same noise. Feed-forward layers do that, as tanh at two
knees. Training goes on from there: nothing is frozen, and heads that reach the neighbouring latents start silent.
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
STRAIGHT = 0.02  # slope inside the norms' tanh, so that coefficients of deviation 1 pass it unbent
IDLE_SLOPE = 0.3  # of norms before layers that start silent
SHARPNESS = (16.0, 12.0)  # attention logits of the two highest rotary frequencies
CONSTANT = WIDTH - 1  # the channel whose norm bias drives the fixed queries
OPEN_GATE = 1.2784645  # silu of it is 1
FLATTEN = 0.5  # a loud block counts for the bases by this power of its level

HEARD = 3 * HEAD  # coefficients of a patch that reach its latent
DISTANCES = (-2, -2, -2, -1, -1, -1, -4, 1)  # tokens from where each head reads: own patches, then neighbours
SOURCES = tuple(range(0, HEARD, HEAD)) * 2 + (0, 0)  # first channel that each head reads

COMPANDED = (0.3, (1.2, 1.0), (0.3, 0.1))  # slope, then height and knee of each tanh, in deviations


@torch.no_grad()
def start_as_transform(model: AutoencoderSAME, sound: np.ndarray) -> None:
    """Set the weights of a fresh `model` from the statistics of `sound`, (2, samples) int16."""
    if len(DISTANCES) * HEAD != WIDTH or STRIDE != 2:
        raise ValueError("two patches to a latent and a head for each of the distances are needed")
    blocks = _blocks(sound)
    basis, scale = _patch_basis(blocks)
    coefficients = (blocks @ basis * scale).reshape(len(blocks), -1)
    directions, deviations = _principal(coefficients, LATENT_CHANNELS)
    for part in (model.encoder, model.decoder):
        for layer in part.blocks[0].transformers:
            layer.norm_attn.alpha.fill_(IDLE_SLOPE)
            layer.norm_ff.alpha.fill_(IDLE_SLOPE)
    _start_encoder(model.encoder, basis * scale, directions / deviations)
    _start_decoder(model.decoder, basis / scale, directions * deviations)


def _start_encoder(encoder: Any, basis: torch.Tensor, analysis: torch.Tensor) -> None:
    """`basis`: (2 · PATCH, HEARD) and `analysis`: (STRIDE · HEARD, latent channels)."""
    block, slope = encoder.blocks[0], COMPANDED[0]
    _set_mapping(block.mapping, _padded(basis.T, WIDTH))
    first = block.transformers[0]
    gathered = _fix_heads(first)
    own = analysis.T
    lines = [own * slope, *(own / knee for _, knee in COMPANDED[1:])]
    gathered[:CONSTANT, : STRIDE * HEARD] = torch.cat(lines)[:CONSTANT]
    _add_tanhs(first, [height for height, _ in COMPANDED[1:]])
    encoder.proj.weight.zero_()
    encoder.proj.weight[:, :LATENT_CHANNELS] = torch.eye(LATENT_CHANNELS)
    encoder.proj.bias.zero_()


def _start_decoder(decoder: Any, basis: torch.Tensor, synthesis: torch.Tensor) -> None:
    """`basis`: (2 · PATCH, HEARD) and `synthesis`: (STRIDE · HEARD, latent channels)."""
    block = decoder.blocks[0]
    _set_mapping(block.mapping, _padded(basis, WIDTH, side=1))
    slope, *terms = _expanded()
    eye = torch.eye(LATENT_CHANNELS)
    lines = [eye * slope, *(eye / knee for _, knee in terms)]
    decoder.proj.weight.zero_()
    decoder.proj.weight[:CONSTANT] = torch.cat(lines)[:CONSTANT]
    decoder.proj.bias.zero_()
    _add_tanhs(block.transformers[0], [height for height, _ in terms])
    scattered = _fix_heads(block.transformers[1])
    for patch, first_head in enumerate(
        (3, 0)
    ):  # the first patch lies one token behind its latent, the second two
        columns = slice(first_head * HEAD, first_head * HEAD + LATENT_CHANNELS)
        scattered[:HEARD, columns] = synthesis[patch * HEARD : (patch + 1) * HEARD]


def _expanded() -> tuple[float, tuple[float, float], tuple[float, float]]:
    """Slope, and height and knee of each tanh, of the function that best undoes COMPANDED (relative least squares)."""
    x = np.logspace(-3, 1.3, 400)
    y = COMPANDED[0] * x + sum(height * np.tanh(x / knee) for height, knee in COMPANDED[1:])
    weight = 1 / (x + 0.02)
    best, found = np.inf, [0.0] * 5
    for wide in np.linspace(0.5, 4, 36):
        for narrow in np.linspace(0.1, 1, 37):
            terms = np.stack([y, np.tanh(y / wide), np.tanh(y / narrow)], axis=1)
            heights = np.linalg.lstsq(terms * weight[:, None], x * weight, rcond=None)[0]
            error = float(np.abs((terms @ heights - x) * weight).max())
            if error < best:
                best, found = error, [*map(float, heights), float(wide), float(narrow)]
    slope, high, low, wide, narrow = found
    return slope, (high, wide), (low, narrow)


def _blocks(sound: np.ndarray, count: int = 12000) -> torch.Tensor:
    """(count, patches, 2 · PATCH): random latents' worth of sound, laid out as the patch embedding does."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, sound.shape[1] - SAMPLES_PER_LATENT, count)
    cut = np.stack([sound[:, s : s + SAMPLES_PER_LATENT] for s in starts]).astype(np.float32) / 32767
    return (
        torch.from_numpy(cut).reshape(count, 2, STRIDE, PATCH).permute(0, 2, 1, 3).reshape(count, STRIDE, -1)
    )


def _patch_basis(blocks: torch.Tensor) -> tuple[torch.Tensor, float]:
    """(2 · PATCH, HEARD) orthonormal columns, strongest first, and the scale that brings the first to deviation 1."""
    patches = blocks.reshape(-1, blocks.shape[-1])
    vectors = _eigenvectors(_flattened(patches))[:, :HEARD]
    return vectors, 1 / float((patches @ vectors[:, 0]).std())


def _principal(rows: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` strongest directions of the rows, (channels, count), and the deviation along each."""
    vectors = _eigenvectors(_flattened(rows))[:, :count]
    return vectors, (rows @ vectors).std(0).clamp(min=1e-9)


def _flattened(rows: torch.Tensor) -> torch.Tensor:
    level = rows.square().mean(1, keepdim=True).sqrt()
    return rows / (level + 1e-2 * level.max()) ** FLATTEN


def _eigenvectors(rows: torch.Tensor) -> torch.Tensor:
    return torch.linalg.eigh(rows.T @ rows / len(rows))[1].flip(1)


def _padded(matrix: torch.Tensor, size: int, side: int = 0) -> torch.Tensor:
    """`matrix` with rows or columns of zeros up to `size`."""
    shape = list(matrix.shape)
    shape[side] = size - shape[side]
    return torch.cat([matrix, matrix.new_zeros(shape)], dim=side)


def _set_mapping(conv: Any, weight: torch.Tensor) -> None:
    """A weight-normalised 1×1 convolution: `weight` (out, in)."""
    weight = weight + 1e-6 * torch.randn(weight.shape)  # a row of zeros has no direction to learn in
    conv.weight_v.copy_(weight[:, :, None] / weight.norm(dim=1)[:, None, None] * weight.shape[1] ** 0.5)
    conv.weight_g.copy_(weight.norm(dim=1)[:, None, None])
    conv.bias.zero_()


def _fix_heads(block: Any) -> torch.Tensor:
    """Each head copies its channels from the token at its distance; returns the output matrix, zero, to be filled."""
    attention, frequencies = block.attn, block.attn.rope.inv_freq
    half = len(frequencies)
    block.norm_attn.alpha.fill_(STRAIGHT)
    block.norm_attn.gamma.fill_(1 / STRAIGHT)
    block.norm_attn.beta[CONSTANT] = 1.0
    queries, keys, values = attention.to_qkv.weight.view(3, len(DISTANCES), HEAD, WIDTH)
    queries.mul_(0.02)
    keys.mul_(0.02)
    values.zero_()
    attention.to_out.weight.zero_()
    for index, sharpness in enumerate(SHARPNESS):
        amplitude = (sharpness * HEAD**0.5) ** 0.5
        attention.k_norm.beta[index] = amplitude
        attention.q_norm.gamma[[index, index + half]] = amplitude / 0.8
        for head, distance in enumerate(DISTANCES):
            phase = -frequencies[index] * distance
            for row, part in ((index, phase.cos()), (index + half, -phase.sin())):
                queries[head, row, CONSTANT] = torch.atanh(0.8 * part) / 4.0
    for head, source in enumerate(SOURCES):
        values[head, :, source : source + HEAD] = torch.eye(HEAD)
    return attention.to_out.weight


def _add_tanhs(block: Any, heights: list[float]) -> None:
    """The feed-forward adds `height` · tanh of each following group of channels to the first group."""
    block.norm_ff.alpha.fill_(1.0)
    inner = block.ff.proj_out.in_features
    value, gate = block.ff.proj_in.weight.view(2, inner, WIDTH)
    value_bias, gate_bias = block.ff.proj_in.bias.view(2, inner)
    for number, height in enumerate(heights):
        for channel in range(LATENT_CHANNELS):
            unit = number * LATENT_CHANNELS + channel
            source = LATENT_CHANNELS + unit
            if source == CONSTANT:
                continue
            value[unit].zero_()
            gate[unit].zero_()
            value_bias[unit], gate_bias[unit] = 0.0, OPEN_GATE
            value[unit, source] = 1.0
            block.ff.proj_out.weight[channel, unit] = height
