"""Train the starter's SAME autoencoder from scratch on synthesised drums.

    python -m finetune.base_model.starter.train_autoencoder WORK --minutes 20

WORK keeps the rendered sound, a checkpoint every minute (a second call goes on from it) and the result.
"""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderSAME
from torch.nn import functional as F

from finetune.base_model.starter.geometry import AUTOENCODER, SAMPLES_PER_LATENT
from finetune.base_model.starter.grooves import training_clips
from finetune.base_model.starter.sitting import load_state, rate_at, read_options, save_state
from finetune.base_model.starter.transform import start_as_transform

CROP_LATENTS = 20
RESOLUTIONS = ((128, 64), (512, 128), (2048, 512))  # window and hop in samples


def render_sound(path: Path, kits: int, seed: int = 0) -> np.ndarray:
    """All training clips end to end as (2, samples) int16, rendered once into `path`."""
    if not path.exists():
        parts = [np.round(clip.audio * 32767).astype(np.int16) for clip in training_clips(seed, kits)]
        beside = path.with_suffix(".part.npy")
        np.save(beside, np.concatenate(parts, axis=1))
        beside.rename(path)
    return np.load(path, mmap_mode="r")


def draw_crops(sound: np.ndarray, batch: int, rng: np.random.Generator) -> torch.Tensor:
    """Random (batch, 2, samples) crops with random gain, polarity, and left and right swapped."""
    length = CROP_LATENTS * SAMPLES_PER_LATENT
    starts = rng.integers(0, sound.shape[1] - length, batch)
    crops = np.stack([sound[:, s : s + length] for s in starts]).astype(np.float32) / 32767
    gains = rng.choice([-1, 1], batch) * 10 ** (-rng.uniform(0, 12, batch) / 20)
    crops *= gains[:, None, None].astype(np.float32)
    return torch.from_numpy(crops[:, :: rng.choice([-1, 1])].copy())


def spectral_loss(got: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Multi-resolution STFT loss (Yamamoto et al. 2020) over the middle and the side."""
    got, wanted = (_middle_side(x) for x in (got, wanted))
    total = got.new_zeros(())
    for size, hop in RESOLUTIONS:
        a, b = (_magnitudes(x, size, hop) for x in (got, wanted))
        convergence = torch.linalg.vector_norm(a - b, dim=(1, 2)) / (
            torch.linalg.vector_norm(b, dim=(1, 2)) + 0.1
        )
        total = total + convergence.mean() + 0.5 * F.l1_loss(torch.log(a + 1e-3), torch.log(b + 1e-3))
    return total / len(RESOLUTIONS)


def _middle_side(x: torch.Tensor) -> torch.Tensor:
    left, right = x[:, 0], x[:, 1]
    return torch.cat([(left + right) / 2, (left - right) / 2])


def _magnitudes(x: torch.Tensor, size: int, hop: int) -> torch.Tensor:
    window = torch.hann_window(size)
    spectrum = torch.stft(x, size, hop, window=window, return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1).add(1e-9).sqrt() / math.sqrt(size)


def reconstruction_loss(model: AutoencoderSAME, audio: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Spectral and waveform error of audio → latents (+ a little noise, so that decoding forgives) → audio."""
    latents = model.encode(audio).latents
    spread = latents.detach().std()
    amount = torch.rand((len(latents), 1, 1), generator=rng) * 0.25 * spread
    noisy = latents + amount * torch.randn(latents.shape, generator=rng)
    got = model.decode(noisy).sample
    waveform = (got - audio).abs().mean((1, 2)) / (audio.abs().mean((1, 2)) + 0.01)
    return spectral_loss(got, audio) + 0.6 * waveform.mean()


@torch.no_grad()
def whiten_latents(model: AutoencoderSAME, sound: np.ndarray) -> None:
    """Fold each latent channel's mean and deviation into the bottleneck and the decoder: same sound, unit latents."""
    audio = draw_crops(sound, 192, np.random.default_rng(1))
    bottleneck, proj = model.bottleneck, model.decoder.proj
    latents = torch.cat([model.encode(part).latents for part in audio.split(16)])
    mean, deviation = latents.mean((0, 2)), latents.std((0, 2)) + 1e-6
    bottleneck.scale.div_(deviation[None, :, None])
    bottleneck.bias.sub_(mean[None, :, None]).div_(deviation[None, :, None])
    proj.bias.add_(proj.weight @ mean)
    proj.weight.mul_(deviation[None, :])


def train(work: Path, minutes: float, batch: int, learning_rate: float, kits: int) -> None:
    work.mkdir(parents=True, exist_ok=True)
    sound = render_sound(work / "sound.npy", kits)
    torch.manual_seed(0)
    model = AutoencoderSAME(**AUTOENCODER)
    start_as_transform(model, sound)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    state, step, spent = work / "autoencoder.state.safetensors", 0, 0.0
    if state.exists():
        saved, spent, step = load_state(state)
        model.load_state_dict(saved)
    began, smooth = time.monotonic() - spent, 0.0
    saved_at = time.monotonic()
    while (elapsed := time.monotonic() - began) < minutes * 60:
        progress = elapsed / (minutes * 60)
        rate = rate_at(learning_rate, step, 100, progress)
        optimizer.param_groups[0]["lr"] = rate
        audio = draw_crops(sound, batch, np.random.default_rng([2, step]))
        loss = reconstruction_loss(model, audio, torch.Generator().manual_seed(step))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        smooth = loss.item() if step == 0 else 0.98 * smooth + 0.02 * loss.item()
        step += 1
        if step % 50 == 0:
            print(f"step {step}  loss {smooth:.4f}  rate {rate:.2e}  {elapsed / 60:.1f} min", flush=True)
        if time.monotonic() - saved_at > 60:
            save_state(state, model.state_dict(), elapsed, step)
            saved_at = time.monotonic()
    whiten_latents(model, sound)
    model.save_pretrained(work / "vae")


if __name__ == "__main__":
    options = read_options(__doc__, minutes=16.0, batch=6, learning_rate=7e-4, kits=40)
    train(options.work, options.minutes, options.batch, options.learning_rate, options.kits)
