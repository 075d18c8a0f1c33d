"""From a prompt, and sound to begin from or to keep, to sound, on a base with or without adapters in its weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from finetune.base_model import BaseModel, Conditions, PromptEmbedding, decoding
from finetune.errors import WoodshedError
from finetune.given import GivenLatents
from finetune.sampling import SAMPLERS, Draw, guide, schedule

LONGEST_SECONDS = 380


@dataclass(frozen=True)
class Request:
    """One sound to generate. `guidance` 1 is none; the bases' own demos use 50 steps and 2 to 7, post-trained bases
    8 steps of `pingpong` without guidance.

    `seconds_total` is the length of the piece that the base is told, None for the sound's own: a piece that ends.
    `negative_prompt` is what guidance leads away from, None for no words at all. `headroom_seconds` are generated after
    the end and cut away, as Stability's program does with 6.
    """

    prompt: str
    seconds: float
    seed: int = 0
    steps: int = 50
    guidance: float = 4.0
    seconds_total: float | None = None
    negative_prompt: str | None = None
    sampler: str = "euler"
    headroom_seconds: float = 0.0


def sample_latents(
    base: BaseModel,
    prompt: PromptEmbedding,
    request: Request,
    progress: Callable[[int], None] = lambda step: None,
) -> torch.Tensor:
    """(1, channels, frames) float32 latents. The noise depends on the seed and the length alone."""
    return sample_batch(base, [prompt], [request], progress)


def sample_batch(
    base: BaseModel,
    prompts: Sequence[PromptEmbedding],
    requests: Sequence[Request],
    progress: Callable[[int], None] = lambda step: None,
    negative: PromptEmbedding | None = None,
    given: GivenLatents | None = None,
    at: Callable[[float], None] = lambda t: None,
) -> torch.Tensor:
    """(requests, channels, frames) float32 latents, each as `sample_latents` would make it.

    ValueError where the requests differ in anything but prompt and seed.
    """
    first = requests[0]
    if any(replace(request, prompt=first.prompt, seed=first.seed) != first for request in requests):
        raise ValueError("Requests of one batch have the same length, steps and guidance.")
    shape = base.latent_channels, latent_frames(base, first)
    generators = [torch.Generator().manual_seed(request.seed) for request in requests]

    def draw() -> torch.Tensor:
        return torch.stack([torch.randn(shape, generator=each) for each in generators])

    conditions = make_conditions(base, prompts, first, negative, given)
    return sample(base, conditions, first, draw, progress, given, at)


@torch.no_grad()
def sample(
    base: BaseModel,
    conditions: Conditions,
    request: Request,
    draw: Draw,
    progress: Callable[[int], None] = lambda step: None,
    given: GivenLatents | None = None,
    at: Callable[[float], None] = lambda t: None,
) -> torch.Tensor:
    """The latents that the noise of `draw` becomes: (batch, channels, frames) each time, first to begin from.

    `conditions` are of `make_conditions`. `at(t)` is called before the base is asked at the time t, for adapters that
    act in a part of the way.
    """
    dtype = base.dtype
    guided, calls = request.guidance != 1, 0

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        at(float(t))
        both = torch.cat([x, x]) if guided else x
        predicted = base.velocity(both.to(dtype), t.expand(len(both)), conditions).float()
        calls += 1
        progress(calls)
        if not guided:
            return predicted
        asked, free = predicted.chunk(2)
        return guide(x, t, asked, free, request.guidance)

    x, noise = draw().to(base.device), 1.0
    if given is not None:
        noise = given.noise
        x = given.latents.to(x) * (1 - noise) + x * noise
    told = base.seconds_to_frames(request.seconds_total or request.seconds)
    times = schedule(request.steps, lambda t: base.sampling_shift.shifted(t, told), noise).to(base.device)
    return SAMPLERS[request.sampler](predict, x, times, lambda: draw().to(base.device))


def latent_frames(base: BaseModel, request: Request) -> int:
    """How many latents are sampled for a request: its seconds, and whole latents of headroom."""
    headroom = int(request.headroom_seconds * base.sample_rate / base.samples_per_latent)
    return base.seconds_to_frames(request.seconds) + headroom


def make_conditions(
    base: BaseModel,
    prompts: Sequence[PromptEmbedding],
    request: Request,
    negative: PromptEmbedding | None = None,
    given: GivenLatents | None = None,
) -> Conditions:
    """What the base is told of a batch, the asked sounds first and, with guidance, as many again to lead away from.

    Those are told nothing, not even the duration; with a negative prompt that prompt, the duration, and zeros where a
    prompt has its padding. What is kept is told to both.
    """
    many = len(prompts)
    total = many if request.guidance == 1 else 2 * many
    rows, dropped = [*prompts, *prompts][:total], torch.arange(total) >= many
    if negative is not None:
        zeros = negative.tokens.new_zeros(base.prompt_tokens - len(negative.tokens), negative.tokens.shape[1])
        rows[many:] = [PromptEmbedding(torch.cat([negative.tokens, zeros]))] * (total - many)
        dropped = torch.zeros_like(dropped)
    seconds = torch.full((total,), float(request.seconds_total or request.seconds))
    if given is None or not given.kept.any():
        return Conditions(rows, seconds, dropped)
    kept = given.kept.to(given.latents).expand(total, 1, -1)
    return Conditions(rows, seconds, dropped, kept, kept * given.latents)


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
    negative = encode_negative(base, requests[0])
    with decoding(base):
        return decode(base, sample_batch(base, prompts, requests, progress, negative), requests[0])


def encode_negative(base: BaseModel, request: Request) -> PromptEmbedding | None:
    words = request.negative_prompt
    return None if words is None else base.encode_prompt(words)


def decode(base: BaseModel, latents: torch.Tensor, request: Request) -> list[np.ndarray]:
    """One (2, samples) float32 sound of the request's length for each of (batch, channels, frames)."""
    samples = round(request.seconds * base.sample_rate)
    return [base.decode_latents(sound[None])[0, :, :samples].cpu().numpy() for sound in latents]


def check_request(request: Request) -> None:
    """Raise WoodshedError, in one sentence, for a request that cannot be fulfilled."""
    if not request.prompt.strip():
        raise WoodshedError(
            "The prompt is empty. Say what you want to hear, for instance: --prompt 'kick one-shot'."
        )
    if not (math.isfinite(request.seconds) and 0.05 <= request.seconds <= LONGEST_SECONDS):
        raise WoodshedError(
            f"--seconds {request.seconds:g} is out of range: from 0.05 to {LONGEST_SECONDS} seconds."
        )
    piece = request.seconds_total
    if piece is not None and not (math.isfinite(piece) and piece >= request.seconds):
        raise WoodshedError(f"--piece {piece:g} is shorter than the sound, which is a part of it.")
    if not 1 <= request.steps <= 1000:
        raise WoodshedError(f"--steps {request.steps} is out of range: from 1 to 1000.")
    if not (math.isfinite(request.guidance) and abs(request.guidance) <= 100):
        raise WoodshedError(f"--guidance {request.guidance:g} is out of range: from -100 to 100; 1 is none.")
    if not 0 <= request.seed < 2**63:
        raise WoodshedError(f"--seed {request.seed} is out of range: from 0 to {2**63 - 1}.")
    if request.sampler not in SAMPLERS:
        raise WoodshedError(f"--sampler '{request.sampler}' is not one of {', '.join(SAMPLERS)}.")
    if not 0 <= request.headroom_seconds <= 60:
        raise WoodshedError(f"--headroom {request.headroom_seconds:g} is out of range: from 0 to 60 seconds.")
    if request.negative_prompt is not None and request.guidance == 1:
        raise WoodshedError(
            "--negative-prompt is heard through guidance, and --guidance 1 is none: ask for more, such as 4."
        )
