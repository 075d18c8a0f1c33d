"""From a prompt to sound: rectified-flow sampling with guidance, on the base alone or with an adapter attached."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import torch

from finetune.base_model import BaseModel, Conditions, PromptEmbedding, decoding
from finetune.errors import WoodshedError
from finetune.files import write_file

LOG_SNR_START, LOG_SNR_END = -6.2, 2.0


@dataclass(frozen=True)
class Request:
    """One sound to generate. `guidance` 1 is none; the bases' own demos use 50 steps and 2 to 7.

    `seconds_total` is the length of the piece that the base is told, None for the sound's own: a piece that ends.
    """

    prompt: str
    seconds: float
    seed: int = 0
    steps: int = 50
    guidance: float = 4.0
    seconds_total: float | None = None


def schedule(steps: int) -> torch.Tensor:
    """(steps + 1,) times from 1 (noise) to 0 (clean), even in log-SNR from -6.2 to 2: Stability's default."""
    t = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)
    times = torch.sigmoid(-(LOG_SNR_END - t * (LOG_SNR_END - LOG_SNR_START)))
    times[0], times[-1] = 1.0, 0.0
    return times.float()


def guide(
    x: torch.Tensor, t: float, asked: torch.Tensor, free: torch.Tensor, guidance: float
) -> torch.Tensor:
    """Adaptive projected guidance (Sadat et al. 2024), as Stability samples: only the part of the difference between
    the asked and the free prediction that is orthogonal to the asked sound is amplified. All (1, channels, frames).
    """
    sound, other = x - t * asked, x - t * free
    difference = sound - other
    direction = sound / torch.linalg.vector_norm(sound, dim=(1, 2), keepdim=True).clamp(min=1e-8)
    along = (difference * direction).sum(dim=(1, 2), keepdim=True) * direction
    return (x - (sound + (guidance - 1) * (difference - along))) / t


@torch.no_grad()
def sample_latents(
    base: BaseModel,
    prompt: PromptEmbedding,
    request: Request,
    progress: Callable[[int], None] = lambda step: None,
) -> torch.Tensor:
    """(1, channels, frames) float32 latents by Euler steps. The noise depends on the seed and the length alone."""
    frames = base.seconds_to_frames(request.seconds)
    generator = torch.Generator().manual_seed(request.seed)
    noise = torch.randn(1, base.latent_channels, frames, generator=generator)
    dtype = base.transformer.proj_in.weight.dtype
    x = noise.to(base.device)
    guided = request.guidance != 1
    seconds = torch.full((1 + guided,), float(request.seconds_total or request.seconds))
    conditions = Conditions([prompt] * (1 + guided), seconds, torch.tensor([False, True][: 1 + guided]))
    times = schedule(request.steps)
    for step, (now, then) in enumerate(zip(times[:-1].tolist(), times[1:].tolist(), strict=True)):
        doubled = x.expand(1 + guided, -1, -1).to(dtype)
        predicted = base.velocity(
            doubled, torch.full((1 + guided,), now, device=x.device), conditions
        ).float()
        velocity = guide(x, now, predicted[:1], predicted[1:], request.guidance) if guided else predicted
        x = x + (then - now) * velocity
        progress(step + 1)
    return x


def generate(
    base: BaseModel, request: Request, progress: Callable[[int], None] = lambda step: None
) -> np.ndarray:
    """(2, samples) float32 audio of exactly `request.seconds`. Raises WoodshedError for an impossible request."""
    check_request(request)
    latents = sample_latents(base, base.encode_prompt(request.prompt), request, progress)
    with decoding(base):
        audio = base.decode_latents(latents)[0]
    return audio[:, : round(request.seconds * base.sample_rate)].cpu().numpy()


def check_request(request: Request) -> None:
    """Raise WoodshedError, in one sentence, for a request that cannot be fulfilled."""
    if not request.prompt.strip():
        raise WoodshedError(
            "The prompt is empty. Say what you want to hear, for instance: --prompt 'kick one-shot'."
        )
    if not (math.isfinite(request.seconds) and 0.05 <= request.seconds <= 380):
        raise WoodshedError(f"--seconds {request.seconds:g} is out of range: from 0.05 to 380 seconds.")
    if request.steps < 1:
        raise WoodshedError(f"--steps {request.steps} is out of range: at least 1.")


def write_audio(path: Path, audio: np.ndarray, sample_rate: int) -> None:
    """Write (2, samples) float32 audio as 24-bit WAV, or FLAC if the name says so; beside first, then renamed."""
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("wav", "flac"):
        raise WoodshedError(f"'{path.name}' must end in .wav or .flac.")
    encoded = io.BytesIO()
    try:
        sf.write(encoded, audio.T, sample_rate, subtype="PCM_24", format=kind.upper())
        write_file(path, encoded.getvalue())
    except (OSError, sf.LibsndfileError) as error:
        raise WoodshedError(f"'{path}' could not be written: {error}") from error
