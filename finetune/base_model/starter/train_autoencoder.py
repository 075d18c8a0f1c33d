"""Train the starter's SAME autoencoder from scratch on synthesised drums.

    python -m finetune.base_model.starter.train_autoencoder WORK

WORK keeps the rendered sound, a checkpoint every minute (a second call goes on from it) and the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderSAME
from librosa.filters import mel
from torch.nn import functional as F

from finetune.base_model.starter.geometry import AUTOENCODER, SAMPLES_PER_LATENT
from finetune.base_model.starter.grooves import kit_clips
from finetune.base_model.starter.mixes import SOFTER_DB, cut_mixes, draw_gains
from finetune.base_model.starter.sitting import Sitting, keep_memory, rate_at, read_options, training_device
from finetune.base_model.starter.stereo import cut_crops
from finetune.base_model.starter.transform import start_as_transform

CROP_LATENTS = 40
RESOLUTIONS = ((256, 64, 20), (1024, 256, 40), (2048, 512, 80))  # window and hop in samples, mel bands
FLOOR = 1e-4  # spectral level below which nothing is heard, full scale being 1
SEED = 0
WARMUP = 100
CHANGE, DECODER_CHANGE = 1.5, 6.0  # weight of rises and falls: training all, and the decoder alone
STEADY = 3.0  # how much larger than the others a channel of latents becomes that never changes
NOISE = 0.1  # most that is added to latents, of their deviation


def render_sound(path: Path, kits: int) -> np.ndarray:
    """All training clips end to end as (2, samples) int16, rendered once into `path`, on every core."""
    if not path.exists():
        with ProcessPoolExecutor(cpu_count(), get_context("spawn")) as pool:
            parts = list(pool.map(_render_kit, range(kits)))
        beside = path.with_suffix(".part.npy")
        np.save(beside, np.concatenate(parts, axis=1))
        beside.rename(path)
    return np.load(path, mmap_mode="r")


def _render_kit(number: int) -> np.ndarray:
    return np.concatenate(
        [np.round(c.audio * 32767).astype(np.int16) for c in kit_clips(SEED, number)], axis=1
    )


def draw_crops(sound: np.ndarray, batch: int, rng: np.random.Generator) -> torch.Tensor:
    """Random (batch, 2, samples) crops, up to 12 dB softer, of either polarity, at any place in the stereo."""
    crops = cut_crops(sound, batch, CROP_LATENTS * SAMPLES_PER_LATENT, rng)
    return torch.from_numpy(crops * draw_gains(batch, SOFTER_DB, rng))


def draw_mixes(sound: np.ndarray, batch: int, rng: np.random.Generator) -> torch.Tensor:
    """Random (batch, 2, samples) mixes of crops."""
    return torch.from_numpy(cut_mixes(sound, batch, CROP_LATENTS * SAMPLES_PER_LATENT, rng))


def spectral_loss(got: torch.Tensor, wanted: torch.Tensor, change_weight: float = CHANGE) -> torch.Tensor:
    """Multi-resolution STFT loss (Yamamoto et al. 2020) over the middle and the side, and over mel bands.

    Bands are compared in level and in how they rise and fall: a rise that was not played is heard as a hit.
    """
    got, wanted = (_middle_side(x) for x in (got, wanted))
    total = got.new_zeros(())
    for size, hop, bands in RESOLUTIONS:
        a, b = (_magnitudes(x, size, hop) for x in (got, wanted))
        convergence = torch.linalg.vector_norm(a - b, dim=(1, 2)) / (
            torch.linalg.vector_norm(b, dim=(1, 2)) + 0.1
        )
        bins = F.l1_loss(torch.log(a + FLOOR), torch.log(b + FLOOR))
        filters = _mel_filters(size, bands).to(a)
        low, high = (0.5 * torch.log(filters @ x.square() + FLOOR**2) for x in (a, b))
        level, change = F.l1_loss(low, high), F.l1_loss(low.diff(dim=-1), high.diff(dim=-1))
        total = total + 0.3 * convergence.mean() + 0.3 * bins + level + change_weight * change
    return total / len(RESOLUTIONS)


@lru_cache
def _mel_filters(size: int, bands: int) -> torch.Tensor:
    """(bands, size / 2 + 1): each band's mean power."""
    filters = torch.from_numpy(mel(sr=44100, n_fft=size, n_mels=bands, norm=None))
    return filters / filters.sum(1, keepdim=True)


def _middle_side(x: torch.Tensor) -> torch.Tensor:
    left, right = x[:, 0], x[:, 1]
    return torch.cat([(left + right) / 2, (left - right) / 2])


def _magnitudes(x: torch.Tensor, size: int, hop: int) -> torch.Tensor:
    window = torch.hann_window(size, device=x.device) / math.sqrt(0.375 * size)
    spectrum = torch.stft(x, size, hop, window=window, return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1).add(1e-12).sqrt()


def reconstruction_loss(
    model: AutoencoderSAME, audio: torch.Tensor, change_weight: float, rng: torch.Generator
) -> torch.Tensor:
    """Spectral and waveform error of audio → latents (+ a little noise, so that decoding forgives) → audio."""
    latents = model.encode(audio).latents
    spread = latents.detach().std()
    amount = torch.rand((len(latents), 1, 1), generator=rng).to(latents) * NOISE * spread
    noisy = latents + amount * torch.randn(latents.shape, generator=rng).to(latents)
    got = model.decode(noisy).sample
    waveform = (got - audio).abs().mean((1, 2)) / (audio.abs().mean((1, 2)) + 0.01)
    return spectral_loss(got, audio, change_weight) + 1.2 * waveform.mean()


@torch.no_grad()
def scale_latents(model: AutoencoderSAME, sound: np.ndarray) -> None:
    """Scale the latents' channels, in the bottleneck and back in the decoder: same sound.

    Each gets mean 0 and deviation 1, or up to 1 + STEADY where one latent tells of the next. What a model of them can
    foresee, when and how loudly something is struck, then stands out of the noise before what nobody can, its phase.
    """
    audio = draw_crops(sound, 192, np.random.default_rng(1))
    bottleneck, proj = model.bottleneck, model.decoder.proj
    latents = torch.cat([model.encode(part).latents for part in audio.split(16)])
    mean, variance = latents.mean((0, 2)), latents.var((0, 2)) + 1e-12
    away = latents - mean[:, None]
    steadiness = (away[:, :, 1:] * away[:, :, :-1]).mean((0, 2)) / variance
    unit = variance.sqrt() / (1 + STEADY * steadiness.clamp(min=0))
    bottleneck.scale.div_(unit[None, :, None])
    bottleneck.bias.sub_(mean[None, :, None]).div_(unit[None, :, None])
    proj.bias.add_(proj.weight @ mean)
    proj.weight.mul_(unit[None, :])


def train(
    work: Path,
    steps: int,
    decoder_steps: int,
    batch: int,
    learning_rate: float,
    decoder_learning_rate: float,
    kits: int,
) -> None:
    """First the whole autoencoder. Then, the latents being what they are from now on, the decoder alone, on mixes:
    with them, and more weight on rises, hits of real recordings are found again at their place."""
    keep_memory()
    work.mkdir(parents=True, exist_ok=True)
    sound = render_sound(work / "sound.npy", kits)
    vae, device = work / "vae", training_device()
    if not vae.exists():
        torch.manual_seed(0)
        model = AutoencoderSAME(**AUTOENCODER)
        start_as_transform(model, sound)
        state, draw = work / "autoencoder.state.safetensors", partial(draw_crops, sound, batch)
        optimise(model.to(device), model, state, draw, CHANGE, steps, learning_rate)
        scale_latents(model.cpu(), sound)
        model.save_pretrained(vae)
    model = AutoencoderSAME.from_pretrained(vae).to(device)
    model.encoder.requires_grad_(False)
    state, draw = work / "decoder.state.safetensors", partial(draw_mixes, sound, batch)
    optimise(model, model.decoder, state, draw, DECODER_CHANGE, decoder_steps, decoder_learning_rate)
    model.cpu().save_pretrained(vae)


def optimise(
    model: AutoencoderSAME,
    learning: torch.nn.Module,
    state: Path,
    draw: Callable[[np.random.Generator], torch.Tensor],
    change_weight: float,
    steps: int,
    learning_rate: float,
) -> None:
    """Train the part `learning` of `model` up to `steps`, from where `state` is."""
    optimizer = torch.optim.AdamW(
        learning.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    sitting = Sitting(state, {"model": model}, optimizer)
    while sitting.done < steps:
        step = sitting.done
        optimizer.param_groups[0]["lr"] = rate_at(learning_rate, WARMUP, step, steps)
        audio = draw(np.random.default_rng([2, step])).to(model.device)
        loss = reconstruction_loss(model, audio, change_weight, torch.Generator().manual_seed(step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning.parameters(), 1.0)
        optimizer.step()
        sitting.advance(loss, steps, say_every=25)


if __name__ == "__main__":
    options = read_options(
        __doc__,
        steps=2100,
        decoder_steps=1000,
        batch=8,
        learning_rate=3e-4,
        decoder_learning_rate=2e-4,
        kits=48,
    )
    train(**vars(options))
