"""What Stability's code and ours are both asked: the inputs of every comparison, from seeded numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from tests.tools.draws import draw
from tests.tools.random_checkpoint import fourier_columns
from tests.tools.stability_geometry import GEOMETRIES, Geometry

CHUNKED_FRAMES = {
    "tiny": 301,
    "tiny-medium": 300,
    "small": 131,
    "medium": 130,
}  # above 128, where chunks begin
RANK, ALPHA = 4, 6.0
# The modules that carry an adapter in the training step, by Stability's names.
ADAPTED = (
    "model.model.transformer.layers.0.self_attn.to_qkv",
    "model.model.transformer.layers.0.cross_attn.to_kv",
    "model.model.transformer.layers.1.self_attn.to_out",
    "model.model.transformer.layers.1.cross_attn.to_q",
    "model.model.transformer.layers.1.ff.ff.0.proj",
    "model.model.transformer.layers.1.ff.ff.2",
    "conditioner.conditioners.seconds_total.embedder.embedding.1",
)
NEGATIVE = "hum, hiss and a long reverb"
SCHEDULES = [(50, 1.0), (8, 1.0), (9, 0.7), (8, 0.4)]  # steps, and how much noise they begin from


@dataclass(frozen=True)
class Ask:
    """One call of the DiT: noisy `x` at times `t`; `kept_mask` (batch, 1, frames) is 1 where `latents` are given."""

    prompts: list[str]
    seconds: list[float]
    x: torch.Tensor
    t: torch.Tensor
    latents: torch.Tensor
    kept_mask: torch.Tensor


@dataclass(frozen=True)
class Step:
    """One training step. `t` is before the shift by length, `noise` before it is paired; `dropped` (batch,) bool."""

    prompts: list[str]
    seconds: list[float]
    latents: torch.Tensor
    noise: torch.Tensor
    t: torch.Tensor
    dropped: torch.Tensor
    kept_mask: torch.Tensor


def is_tiny(name: str) -> bool:
    return name.startswith("tiny")


def prompts(geometry: Geometry) -> list[str]:
    """Nothing, a few words, and more tokens than the prompt has room for."""
    words = "a dry break at 172 bpm with ghost notes on the snare and an open hat before the one, "
    return ["", "kick one-shot, dry", words * (geometry.prompt_tokens // 20 + 1)]


def ask(name: str) -> Ask:
    """Real sizes get one clip less than tiny ones: they are slow."""
    geometry = GEOMETRIES[name]
    clips, frames = (3, 21) if is_tiny(name) else (2, 10)
    channels = geometry.latent_channels
    kept = torch.ones(clips, 1, frames)
    kept[0, :, 4:9] = 0
    kept[1, :, 3:] = 0
    return Ask(
        prompts=prompts(geometry)[-clips:],
        seconds=[2.0, 143.0, 1000.0][:clips],  # the last is longer than any base knows
        x=draw("ask x", clips, channels, frames),
        t=torch.tensor([0.03, 0.61, 1.0])[-clips:],
        latents=draw("ask latents", clips, channels, frames),
        kept_mask=kept,
    )


def generation(name: str) -> Ask:
    """One clip of `ask`, of a length that its frames are but a part of: all of them are sound."""
    whole = ask(name)
    return Ask(whole.prompts[1:2], [30.0], whole.x[1:2], whole.t[1:2], whole.latents[:1], whole.kept_mask[:1])


def step(name: str) -> Step:
    geometry = GEOMETRIES[name]
    clips, frames = (3, 17) if is_tiny(name) else (2, 9)
    kept = torch.zeros(clips, 1, frames)
    kept[0, :, :5] = 1
    kept[0, :, 12:] = 1
    latents = draw("step latents", clips, geometry.latent_channels, frames)
    # Near the latents of the next clip, so that the pairing has something to mend.
    noise = draw("step noise", *latents.shape) + 0.5 * latents.roll(1, dims=0)
    return Step(
        prompts=prompts(geometry)[-clips:],
        seconds=[3.0, 40.0, 250.0][:clips],
        latents=latents,
        noise=noise,
        t=torch.tensor([0.21, 0.55, 0.87])[:clips],
        dropped=torch.tensor([False, True, False])[:clips],
        kept_mask=kept,
    )


def told(prompts: list[str], seconds: list[float]) -> list[dict[str, str | float]]:
    """What Stability's conditioner is told of each clip."""
    return [{"prompt": p, "seconds_total": s} for p, s in zip(prompts, seconds, strict=True)]


def fresh_noises(shape: torch.Size) -> Iterator[torch.Tensor]:
    """The noises that ping-pong sampling draws, in their order."""
    for number in itertools.count():
        yield draw(f"fresh noise {number}", *shape)


def adapter_weights(name: str, module: str, inputs: int, outputs: int) -> dict[str, torch.Tensor]:
    """Stability's `lora_A` (rank, inputs), `lora_B` (outputs, rank), and what multiplies `magnitude` (outputs,)."""
    return {
        "lora_A": draw(f"{name} {module} A", RANK, inputs, scale=inputs**-0.5),
        "lora_B": draw(f"{name} {module} B", outputs, RANK, scale=0.3 * RANK**-0.5),
        "magnitude": 1 + draw(f"{name} {module} magnitude", outputs, scale=0.05),
    }


def comparable(module: str, weight: str, gradient: torch.Tensor) -> torch.Tensor:
    """A gradient as it is compared: that of the duration embedder's A has the Fourier features of the seconds as its
    columns, and the highest of them are each processor's own."""
    if module.startswith("conditioner.") and weight == "lora_A":
        return gradient * torch.from_numpy(fourier_columns())
    return gradient


def audio(name: str, frames: int) -> torch.Tensor:
    """(clips, 2, samples): a little less than `frames` latents, which silence completes."""
    samples = frames * GEOMETRIES[name].samples_per_latent
    return draw(f"audio {frames}", sounds(name, frames), 2, samples - 3, scale=0.3)


def latents(name: str, frames: int) -> torch.Tensor:
    return draw(f"latents {frames}", sounds(name, frames), GEOMETRIES[name].latent_channels, frames)


def sounds(name: str, frames: int) -> int:
    """How many at once: two, or one where they are long or large."""
    return 2 if is_tiny(name) and frames < 100 else 1


def whole_frames(name: str) -> tuple[int, ...]:
    """Lengths below the chunk; odd ones are what SAME-S has to pad."""
    return (7, 8) if is_tiny(name) else (5,)
