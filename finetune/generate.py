"""From a prompt to sound: rectified-flow sampling with guidance, on the base alone or with an adapter attached."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    the asked and the free prediction that is orthogonal to the asked sound is amplified. All (batch, channels, frames).
    """
    sound, other = x - t * asked, x - t * free
    difference = sound - other
    direction = sound / torch.linalg.vector_norm(sound, dim=(1, 2), keepdim=True).clamp(min=1e-8)
    along = (difference * direction).sum(dim=(1, 2), keepdim=True) * direction
    return (x - (sound + (guidance - 1) * (difference - along))) / t


def sample_latents(
    base: BaseModel,
    prompt: PromptEmbedding,
    request: Request,
    progress: Callable[[int], None] = lambda step: None,
) -> torch.Tensor:
    """(1, channels, frames) float32 latents by Euler steps. The noise depends on the seed and the length alone."""
    return sample_batch(base, [prompt], [request], progress)


@torch.no_grad()
def sample_batch(
    base: BaseModel,
    prompts: Sequence[PromptEmbedding],
    requests: Sequence[Request],
    progress: Callable[[int], None] = lambda step: None,
) -> torch.Tensor:
    """(requests, channels, frames) float32 latents, each as `sample_latents` would make it.

    ValueError where the requests differ in anything but prompt and seed.
    """
    first, many = requests[0], len(requests)
    if any(replace(request, prompt=first.prompt, seed=first.seed) != first for request in requests):
        raise ValueError("Requests of one batch have the same length, steps and guidance.")
    shape = base.latent_channels, base.seconds_to_frames(first.seconds)
    noise = [torch.randn(shape, generator=torch.Generator().manual_seed(each.seed)) for each in requests]
    dtype = base.transformer.proj_in.weight.dtype
    x = torch.stack(noise).to(base.device)
    passes = 2 if first.guidance != 1 else 1  # the asked sounds, then the same without a prompt
    seconds = torch.full((passes * many,), float(first.seconds_total or first.seconds))
    dropped = torch.arange(passes * many) >= many
    conditions = Conditions(list(prompts) * passes, seconds, dropped)
    times = schedule(first.steps)
    for step, (now, then) in enumerate(zip(times[:-1].tolist(), times[1:].tolist(), strict=True)):
        t = torch.full((passes * many,), now, device=x.device)
        predicted = base.velocity(x.repeat(passes, 1, 1).to(dtype), t, conditions).float()
        asked, free = predicted[:many], predicted[-many:]
        velocity = guide(x, now, asked, free, first.guidance) if passes == 2 else asked
        x = x + (then - now) * velocity
        progress(step + 1)
    return x


def generate(
    base: BaseModel, request: Request, progress: Callable[[int], None] = lambda step: None
) -> np.ndarray:
    """(2, samples) float32 audio of exactly `request.seconds`. Raises WoodshedError for an impossible request."""
    return generate_batch(base, [request], progress)[0]


def generate_batch(
    base: BaseModel, requests: Sequence[Request], progress: Callable[[int], None] = lambda step: None
) -> list[np.ndarray]:
    """The sound of each request, as `generate` would make it; they may differ in prompt and seed alone."""
    for request in requests:
        check_request(request)
    prompts = [base.encode_prompt(request.prompt) for request in requests]
    latents = sample_batch(base, prompts, requests, progress)
    samples = round(requests[0].seconds * base.sample_rate)
    with decoding(base):
        return [base.decode_latents(sound[None])[0, :, :samples].cpu().numpy() for sound in latents]


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
