"""Batch after batch as a pure function of (dataset, seed, step): nothing to save, nothing to fast-forward.

Clips of one latent length make a batch: no padding. Every clip comes once an epoch; the last batch of a length is
smaller when its clips do not fill it.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from data_prep.dataset import Clip
from finetune import objective
from finetune.base_model import BaseModel, Conditions
from finetune.latents import EncodedClip, EncodedDataset
from finetune.recipe import Recipe

LONGEST_SECONDS = 384  # the end of what the bases' duration embedder knows


@dataclass
class Batch:
    """Clips of one length. latents, noise: (batch, channels, frames); t: (batch,); all on the CPU."""

    latents: torch.Tensor
    noise: torch.Tensor
    t: torch.Tensor
    conditions: Conditions


def seeded(*parts: object) -> torch.Generator:
    """A generator seeded by the SHA-256 of `parts`: independent streams from names and numbers."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def seconds_total(clip: Clip, length: str) -> float:
    """What the base is told of a clip's length: whole seconds, rounded up, of the clip or of its recording."""
    seconds = clip.seconds if length == "whole" else clip.recording_seconds
    return float(min(math.ceil(round(seconds, 6)), LONGEST_SECONDS))


def excerpt_seconds(clips: Sequence[Clip], length: str) -> float | None:
    """What to tell the base when generating as these clips were trained: None where they were pieces that end."""
    return None if length == "whole" else statistics.median(seconds_total(clip, length) for clip in clips)


@dataclass(frozen=True)
class Batches:
    """The batches of a run over the dataset's training clips."""

    base: BaseModel
    data: EncodedDataset
    recipe: Recipe

    @property
    def crop_frames(self) -> int:
        return self.base.seconds_to_frames(self.recipe.data.crop_seconds)

    def of_step(self, step: int) -> list[Batch]:
        """The batches whose gradients step `step`, counted from 1, averages."""
        passes = self.recipe.training.gradient_accumulation
        return [self._batch((step - 1) * passes + number) for number in range(passes)]

    def _batch(self, number: int) -> Batch:
        clips = self._clips(number)
        generator = seeded(self.recipe.seed, "batch", number)
        latents = torch.stack([self._excerpt(clip, generator) for clip in clips])
        latents = self._with_silence(latents, clips, generator)
        seconds = torch.tensor([seconds_total(clip.clip, self.recipe.data.length) for clip in clips])
        captions = [self._caption(clip.clip, generator) for clip in clips]
        return self._noised(latents, seconds, captions, generator)

    def _noised(
        self, latents: torch.Tensor, seconds: torch.Tensor, captions: list[str], generator: torch.Generator
    ) -> Batch:
        training = self.recipe.training
        batch, _, frames = latents.shape
        t = objective.draw_timesteps(batch, generator)
        if training.length_shift:
            told = torch.tensor([self.base.seconds_to_frames(s) for s in seconds.tolist()])
            t = self.base.training_shift.shifted(t, told)
        noise = torch.randn(latents.shape, generator=generator)
        if training.optimal_transport:
            noise = objective.pair_noise(latents, noise)
        kept_mask = None
        if training.inpainting:
            kept_mask = objective.draw_kept_mask(batch, frames, training.inpainting_shares, generator)
        conditions = Conditions(
            prompts=[self.data.prompt(caption) for caption in captions],
            seconds=seconds,
            dropped=objective.draw_dropped(batch, training.conditioning_dropout, generator),
            kept_mask=kept_mask,
            kept_latents=None if kept_mask is None else latents * kept_mask,
        )
        return Batch(latents, noise, t, conditions)

    def _clips(self, number: int) -> list[EncodedClip]:
        """The clips of the `number`-th batch of the run, from 0."""
        buckets = self._buckets()
        size = self.recipe.training.batch_size
        per_epoch = sum(math.ceil(len(bucket) / size) for bucket in buckets)
        epoch, position = divmod(number, per_epoch)
        generator = seeded(self.recipe.seed, "epoch", epoch)
        batches = []
        for bucket in buckets:
            order = torch.randperm(len(bucket), generator=generator).tolist()
            batches += [[bucket[i] for i in order[at : at + size]] for at in range(0, len(bucket), size)]
        return batches[int(torch.randperm(per_epoch, generator=generator)[position])]

    def _buckets(self) -> list[list[EncodedClip]]:
        """Training clips by the length they are trained at, and by whether their end is in it."""
        buckets = defaultdict(list)
        for clip in self.data.split("train"):
            buckets[min(clip.frames, self.crop_frames), clip.frames > self.crop_frames].append(clip)
        return [buckets[key] for key in sorted(buckets)]

    def _excerpt(self, clip: EncodedClip, generator: torch.Generator) -> torch.Tensor:
        latents = clip.latents()
        spare = clip.frames - self.crop_frames
        if spare <= 0:
            return latents
        start = int(torch.randint(spare + 1, (), generator=generator))
        return latents[:, start : start + self.crop_frames]

    def _with_silence(
        self, latents: torch.Tensor, clips: list[EncodedClip], generator: torch.Generator
    ) -> torch.Tensor:
        """Add silence after pieces that end within the batch: the base then knows what follows an ending."""
        frames = latents.shape[-1]
        ends = self.recipe.data.length == "whole" and clips[0].frames <= self.crop_frames
        most = min(self.data.silence.shape[-1], self.crop_frames - frames)
        if not ends or most <= 0:
            return latents
        mean = self.recipe.training.silence_seconds * self.base.sample_rate / self.base.samples_per_latent
        silence = self.data.silence[:, : objective.draw_silence_frames(mean, most, generator)]
        return torch.cat([latents, silence.expand(len(latents), -1, -1)], dim=-1)

    def _caption(self, clip: Clip, generator: torch.Generator) -> str:
        if self.recipe.data.captions == "canonical" or not clip.captions:
            return clip.text
        return clip.captions[int(torch.randint(len(clip.captions), (), generator=generator))]
