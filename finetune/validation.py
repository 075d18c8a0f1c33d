"""The held-out loss, of recordings that are not trained on, and beside it the same loss of as many clips that are:
always with the same noise at the same times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from finetune.base_model import BaseModel, Conditions, PromptEmbedding
from finetune.batches import seconds_total, seeded
from finetune.latents import EncodedClip, EncodedDataset
from finetune.objective import add_noise
from finetune.recipe import Recipe

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)  # middles of five bands of noise; Stability validates at these too


@torch.no_grad()
def validation_losses(base: BaseModel, data: EncodedDataset, recipe: Recipe) -> dict[str, Any]:
    """`held_out_loss`, the mean over clips and times, `held_out_loss_bands`, the mean at each time, and the same of
    the training set as `training_set_loss` and `training_set_loss_bands`.

    The noise of a clip depends on its content, the time and the draw alone: other clips do not change its loss.
    Long clips are heard from their beginning. Empty when nothing is held out.
    """
    held_out = spread(data.split("validation"), recipe.validation.clips)
    row: dict[str, Any] = {}
    for name, clips in (
        ("held_out_loss", held_out),
        ("training_set_loss", spread(data.split("train"), len(held_out))),
    ):
        if clips:
            losses = torch.stack([_clip_losses(base, data, recipe, clip) for clip in clips]).double().mean(0)
            row[name] = float(losses.mean())
            row[f"{name}_bands"] = {
                f"{time:g}": loss for time, loss in zip(TIMES, losses.tolist(), strict=True)
            }
    return row


@dataclass(frozen=True)
class Probe:
    """One sound at the five times: `noisy` and `target`, the right velocity, (5, channels, frames) on the CPU."""

    noisy: torch.Tensor
    target: torch.Tensor
    conditions: Conditions


def make_probe(
    latents: torch.Tensor, prompt: PromptEmbedding, seconds: float, key: str, draw: int = 0
) -> Probe:
    """`latents` (channels, frames) float32 with noise that depends on key, time and draw alone; `seconds` is told."""
    every = latents.expand(len(TIMES), -1, -1)
    noise = torch.stack(
        [torch.randn(latents.shape, generator=seeded("held out", key, time, draw)) for time in TIMES]
    )
    conditions = Conditions([prompt] * len(TIMES), torch.full((len(TIMES),), seconds))
    return Probe(add_noise(every, noise, torch.tensor(TIMES)), noise - every, conditions)


@torch.no_grad()
def predict(base: BaseModel, probe: Probe) -> torch.Tensor:
    """(5, channels, frames) float32 velocities that the base, as it is now, predicts."""
    noisy = probe.noisy.to(base.device, base.dtype)
    return base.velocity(noisy, torch.tensor(TIMES, device=base.device), probe.conditions).float()


def clip_probes(base: BaseModel, data: EncodedDataset, recipe: Recipe, clip: EncodedClip) -> list[Probe]:
    """One probe for each draw; a long clip is heard from its beginning."""
    latents = clip.latents()[:, : base.seconds_to_frames(recipe.data.crop_seconds)]
    seconds = seconds_total(clip.clip, recipe.data.length)
    prompt, sha = data.prompt(clip.clip.text), clip.clip.clip_sha256
    draws = range(recipe.validation.draws)
    return [make_probe(latents, prompt, seconds, sha, draw) for draw in draws]


def spread(clips: list[EncodedClip], most: int) -> list[EncodedClip]:
    """At most `most` of `clips`, evenly from the whole list, so that many recordings have a say."""
    count = min(most, len(clips))
    return [clips[number * len(clips) // count] for number in range(count)]


def _clip_losses(base: BaseModel, data: EncodedDataset, recipe: Recipe, clip: EncodedClip) -> torch.Tensor:
    """(5,) losses of one clip, its five times in one batch, averaged over the draws."""
    probes = clip_probes(base, data, recipe, clip)
    losses = [(predict(base, each) - each.target.to(base.device)).square().mean((1, 2)) for each in probes]
    return torch.stack(losses).mean(0).cpu()
