"""The held-out loss, of recordings that are not trained on, and beside it the same loss of as many clips that are:
always with the same noise at the same times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from finetune.base_model import BaseModel, Conditions
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
    held_out = _spread(data.split("validation"), recipe.validation.clips)
    row: dict[str, Any] = {}
    for name, clips in (
        ("held_out_loss", held_out),
        ("training_set_loss", _spread(data.split("train"), len(held_out))),
    ):
        if clips:
            losses = torch.stack([_clip_losses(base, data, recipe, clip) for clip in clips]).double().mean(0)
            row[name] = float(losses.mean())
            row[f"{name}_bands"] = {
                f"{time:g}": loss for time, loss in zip(TIMES, losses.tolist(), strict=True)
            }
    return row


def _spread(clips: list[EncodedClip], most: int) -> list[EncodedClip]:
    """At most `most` of `clips`, evenly from the whole list, so that many recordings have a say."""
    count = min(most, len(clips))
    return [clips[number * len(clips) // count] for number in range(count)]


def _clip_losses(base: BaseModel, data: EncodedDataset, recipe: Recipe, clip: EncodedClip) -> torch.Tensor:
    """(5,) losses of one clip, its five times in one batch, averaged over the draws."""
    latents = clip.latents()[:, : base.seconds_to_frames(recipe.data.crop_seconds)].expand(len(TIMES), -1, -1)
    t = torch.tensor(TIMES)
    conditions = Conditions(
        prompts=[data.prompt(clip.clip.text)] * len(TIMES),
        seconds=torch.full((len(TIMES),), seconds_total(clip.clip, recipe.data.length)),
    )
    losses = []
    for draw in range(recipe.validation.draws):
        noise = _noise(latents, clip.clip.clip_sha256, draw)
        noisy = add_noise(latents, noise, t).to(base.device, base.dtype)
        predicted = base.velocity(noisy, t.to(base.device), conditions).float()
        losses.append((predicted - (noise - latents).to(base.device)).square().mean((1, 2)))
    return torch.stack(losses).mean(0).cpu()


def _noise(latents: torch.Tensor, clip_sha256: str, draw: int) -> torch.Tensor:
    shape: Sequence[int] = latents.shape[1:]
    return torch.stack(
        [torch.randn(shape, generator=seeded("held out", clip_sha256, time, draw)) for time in TIMES]
    )
