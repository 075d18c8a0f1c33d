"""Start the autoencoder as a transform codec instead of noise, so that minutes of training suffice.

Each patch is described by its first Karhunen-Loève coefficients. Attention heads, each fixed by rotary phase on one
distance, carry the two patches of a latent to its token, where a second Karhunen-Loève basis keeps what the latent
holds; the decoder goes the same way back. Between them every channel is companded: an attack is hundreds of times
louder than the tail before it, and both must survive the same noise. Feed-forward layers do that, as tanh at two
knees.

What is high and quiet above something low and loud no coefficient reaches: a hat over a kick. So the last channels of
a latent tell how strong four bands are in each of its patches, and the decoder has noise of these bands at hand.
Training goes on from there: nothing is frozen, and heads that reach the neighbouring latents start silent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderSAME

from finetune.base_model.starter.geometry import AUTOENCODER, LATENT_CHANNELS, SAMPLES_PER_LATENT
from finetune.base_model.starter.stereo import cut_crops

PATCH = AUTOENCODER["patch_size"]
STRIDE = AUTOENCODER["encoder_strides"][0]
WIDTH = AUTOENCODER["encoder_channels"] * AUTOENCODER["encoder_c_mults"][0]
HEAD = AUTOENCODER["dim_heads"]
STRAIGHT = 0.02  # slope inside the norms' tanh, so that coefficients of deviation 1 pass it unbent
IDLE_SLOPE = 0.3  # of norms before layers that start silent
CONSTANT = WIDTH - 1  # the channel whose norm bias drives the fixed queries
SHARPNESS = (16.0, 12.0)  # attention logits of the two highest rotary frequencies
OPEN_GATE = 1.2784645  # silu of it is 1
FLATTEN = 0.5  # a loud block counts for the bases by this power of its level

BANDS_HZ = ((1000, 2500), (2500, 5500), (5500, 10500), (10500, 18000))
PROBES = 6  # projections of a patch from which one band's strength is read, for each gain
PROBE_GAINS = (1.0, 16.0)  # loud and quiet strengths, each between nothing and the end of a tanh
STEEP = 6.0  # silu(x) + silu(-x) is |x| from about 2
STRENGTHS = len(BANDS_HZ) * STRIDE
COEFFICIENTS = LATENT_CHANNELS - STRENGTHS

HEARD = 3 * HEAD  # coefficients of a patch that reach its latent
DISTANCES = (-2, -2, -2, -1, -1, -1, -4, 1)  # tokens from where each head reads: own patches, then neighbours
PROBED = HEARD  # first channel of a patch's projections
PATCH_STRENGTH = 3 * COEFFICIENTS  # first channel of a patch's strengths
LATENT_STRENGTH = PATCH_STRENGTH + len(BANDS_HZ)  # first channel of a latent's

COMPANDED = (0.3, (1.2, 1.0), (0.3, 0.1))  # slope, then height and knee of each tanh, in deviations


@torch.no_grad()
def start_as_transform(model: AutoencoderSAME, sound: np.ndarray) -> None:
    """Set the weights of a fresh `model` from the statistics of `sound`, (2, samples) int16."""
    if len(DISTANCES) * HEAD != WIDTH or STRIDE != 2:
        raise ValueError("two patches to a latent and a head for each of the distances are needed")
    for part in (model.encoder, model.decoder):
        for layer in part.blocks[0].transformers:
            layer.norm_attn.alpha.fill_(IDLE_SLOPE)
            layer.norm_ff.alpha.fill_(IDLE_SLOPE)
    blocks = _blocks(sound)
    basis, scale = _patch_basis(blocks)
    coefficients = (blocks @ basis * scale).reshape(len(blocks), -1)
    directions, deviations = _principal(coefficients, COEFFICIENTS)
    probes = _probes(blocks)
    _start_encoder(model.encoder, basis * scale, probes, directions / deviations)
    _start_decoder(model.decoder, basis / scale, probes, directions * deviations)


def _start_encoder(encoder: Any, basis: torch.Tensor, probes: torch.Tensor, analysis: torch.Tensor) -> None:
    """`basis` and `probes` have a row for each sample of a patch, `analysis` one for each coefficient that is heard."""
    block, slope = encoder.blocks[0], COMPANDED[0]
    first, second = block.transformers[:2]
    _set_mapping(block.mapping, _padded(torch.cat([basis, probes], dim=1).T, WIDTH))
    gathered = _fix_heads(first, [range(c, c + HEAD) for c in (0, HEAD, 2 * HEAD, 0, HEAD, 2 * HEAD, 0, 0)])
    own = analysis.T
    lines = [own * slope, *(own / knee for _, knee in COMPANDED[1:])]
    gathered[: 3 * COEFFICIENTS, : STRIDE * HEARD] = torch.cat(lines)
    used = _add_tanhs(first, [height for height, _ in COMPANDED[1:]])
    _add_strengths(first, used)
    bands = range(PATCH_STRENGTH, LATENT_STRENGTH)
    collected = _fix_heads(second, [bands, (), (), bands, (), (), (), ()])
    for patch in range(STRIDE):
        for band in range(len(BANDS_HZ)):
            collected[LATENT_STRENGTH + patch * len(BANDS_HZ) + band, patch * HEARD + band] = 1.0
    _set_projection(encoder.proj.weight.T, encoder.proj.bias)


def _start_decoder(decoder: Any, basis: torch.Tensor, probes: torch.Tensor, synthesis: torch.Tensor) -> None:
    """As the encoder: `probes` are the noise that strengths may bring back, once training has found how."""
    block = decoder.blocks[0]
    first, second = block.transformers[:2]
    _set_mapping(block.mapping, _padded(torch.cat([basis, _noises(probes)], dim=1), WIDTH, side=1))
    slope, *terms = _expanded()
    _set_projection(decoder.proj.weight, decoder.proj.bias)
    for line, gain in enumerate((slope, *(1 / knee for _, knee in terms))):
        rows = slice(line * COEFFICIENTS, (line + 1) * COEFFICIENTS)
        decoder.proj.weight[rows, :COEFFICIENTS] = gain * torch.eye(COEFFICIENTS)
    _add_tanhs(first, [height for height, _ in terms])
    strengths = range(LATENT_STRENGTH, LATENT_STRENGTH + STRENGTHS)
    own = [range(HEAD), range(HEAD, 2 * HEAD), [*range(2 * HEAD, COEFFICIENTS), *strengths]]
    scattered = _fix_heads(second, [*own, *own, range(HEAD), range(HEAD)])
    for patch, head in enumerate((3, 0)):  # the first patch lies one token behind its latent, the second two
        columns = slice(head * HEAD, head * HEAD + COEFFICIENTS)
        scattered[:HEARD, columns] = synthesis[patch * HEARD : (patch + 1) * HEARD]
        for band in range(len(BANDS_HZ)):
            source = head * HEAD + COEFFICIENTS + patch * len(BANDS_HZ) + band
            scattered[PATCH_STRENGTH + band, source] = 1.0


def _set_projection(weight: torch.Tensor, bias: torch.Tensor) -> None:
    """Between the token's channels, the rows of `weight`, and the latent's: coefficients first, strengths last."""
    weight.zero_()
    bias.zero_()
    weight[:COEFFICIENTS, :COEFFICIENTS] = torch.eye(COEFFICIENTS)
    weight[LATENT_STRENGTH : LATENT_STRENGTH + STRENGTHS, COEFFICIENTS:] = torch.eye(STRENGTHS)


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
    cut = cut_crops(sound, count, SAMPLES_PER_LATENT, np.random.default_rng(0))
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


def _probes(blocks: torch.Tensor) -> torch.Tensor:
    """(2 · PATCH, gains · bands · PROBES): noise of each band, in the middle, against which a patch is held.

    A band's first set has deviation 1 on `blocks`, each further set is louder by its gain.
    """
    rng = np.random.default_rng(1)
    hertz = np.fft.rfftfreq(PATCH, 1 / 44100)
    columns = []
    for gain in PROBE_GAINS:
        for low, high in BANDS_HZ:
            spectra = (
                rng.standard_normal((PROBES, len(hertz), 2)) @ (1, 1j) * ((hertz >= low) & (hertz < high))
            )
            noise = torch.from_numpy(np.fft.irfft(spectra, PATCH).astype(np.float32))
            probe = torch.cat([noise, noise], dim=1).T
            columns.append(probe * gain / (blocks.reshape(-1, 2 * PATCH) @ probe).std())
    return torch.cat(columns, dim=1)


def _noises(probes: torch.Tensor) -> torch.Tensor:
    """The probes at the level at which they measure 1, every other one turned against itself in stereo."""
    noise = probes / probes.square().sum(0)
    noise[PATCH:, ::2] *= -1
    return noise


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


def _fix_heads(block: Any, sources: Sequence[Sequence[int]]) -> torch.Tensor:
    """Each head copies the channels `sources` of the token at its distance; returns the output matrix, to be filled."""
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
    for head, channels in enumerate(sources):
        for row, channel in enumerate(channels):
            values[head, row, channel] = 1.0
    return attention.to_out.weight


def _add_tanhs(block: Any, heights: list[float]) -> int:
    """The feed-forward adds `height` · tanh of each following group of channels to the first; returns units used."""
    block.norm_ff.alpha.fill_(1.0)
    for number, height in enumerate(heights):
        for channel in range(COEFFICIENTS):
            unit = number * COEFFICIENTS + channel
            _set_unit(block.ff, unit, value=({COEFFICIENTS + unit: 1.0}, 0.0), gate=({}, OPEN_GATE))
            block.ff.proj_out.weight[channel, unit] = height
    return len(heights) * COEFFICIENTS


def _add_strengths(block: Any, unit: int) -> None:
    """The feed-forward, from `unit` on, adds up the size of each band's projections, compressed by the norm's tanh."""
    bands = [band for _ in PROBE_GAINS for band in range(len(BANDS_HZ)) for _ in range(PROBES)]
    for probe, band in enumerate(bands):
        for sign in (1, -1):
            _set_unit(block.ff, unit, value=({}, 1.0), gate=({PROBED + probe: sign * STEEP}, 0.0))
            block.ff.proj_out.weight[PATCH_STRENGTH + band, unit] = 1 / (STEEP * PROBES)
            unit += 1


def _set_unit(
    ff: Any, unit: int, value: tuple[dict[int, float], float], gate: tuple[dict[int, float], float]
) -> None:
    """One unit of a feed-forward: weights by channel, and bias, of its value and of its gate."""
    inner = ff.proj_out.in_features
    for part, (weights, bias) in enumerate((value, gate)):
        row = part * inner + unit
        ff.proj_in.weight[row].zero_()
        for channel, weight in weights.items():
            ff.proj_in.weight[row, channel] = weight
        ff.proj_in.bias[row] = bias
