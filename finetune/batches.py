"""Batch after batch as a pure function of (dataset, seed, step): nothing to save, nothing to fast-forward.

Clips of one latent length make a batch: no padding. Every clip comes once an epoch; the last batch of a length is
smaller when its clips do not fill it. Between them, spread evenly, come the batches of what the base itself plays.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from data_prep.dataset import Clip
from finetune import objective
from finetune.base_model import BaseModel, Conditions
from finetune.captions import draw_caption
from finetune.crops import Crops, make_crops
from finetune.latents import EncodedClip, EncodedDataset
from finetune.recipe import Recipe

LONGEST_SECONDS = 384  # the end of what the bases' duration embedder knows


@dataclass
class Batch:
    """Clips of one length. latents, noise: (batch, channels, frames); t: (batch,); all on the CPU.

    `kept_weight` is what the loss on the given part counts beside that on the part to make, `weight` what the batch
    counts beside others.
    """

    latents: torch.Tensor
    noise: torch.Tensor
    t: torch.Tensor
    conditions: Conditions
    kept_weight: float = 1.0
    weight: float = 1.0


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


def make_buckets(crops: Crops, clips: Sequence[EncodedClip]) -> list[list[EncodedClip]]:
    """Clips by the length they are trained at, and by whether their end is in it."""
    buckets = defaultdict(list)
    for clip in clips:
        frames = crops.frames(clip)
        buckets[frames, clip.frames > frames].append(clip)
    return [buckets[key] for key in sorted(buckets)]


@dataclass(frozen=True)
class Batches:
    """The batches of a run over the dataset's training clips."""

    base: BaseModel
    data: EncodedDataset
    recipe: Recipe

    @property
    def crops(self) -> Crops:
        return make_crops(self.base, self.recipe.data)

    def of_step(self, step: int, rank: int = 0, processes: int = 1) -> list[Batch]:
        """The batches whose gradients step `step`, counted from 1, averages; of several processes the one's share."""
        passes = self.recipe.training.gradient_accumulation
        return [self._batch((step - 1) * passes + number) for number in range(rank, passes, processes)]

    def _batch(self, number: int) -> Batch:
        clips = self._clips(number)
        generator = seeded(self.recipe.seed, "batch", number)
        turned = objective.draw_some(
            len(clips), self.recipe.training.polarity_flip, seeded(self.recipe.seed, "polarity", number)
        )
        excerpts = zip(clips, turned.tolist(), strict=True)
        latents = torch.stack([self._excerpt(clip, upside_down, generator) for clip, upside_down in excerpts])
        latents = self._with_silence(latents, clips, generator)
        seconds = torch.tensor([seconds_total(clip.clip, self.recipe.data.length) for clip in clips])
        captions = [self._caption(clip, generator) for clip in clips]
        batch = self._noised(latents, seconds, captions, generator)
        return replace(batch, weight=self.recipe.training.prior_weight) if clips[0].is_prior else batch

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
            dropped=objective.draw_some(batch, training.conditioning_dropout, generator),
            kept_mask=kept_mask,
            kept_latents=None if kept_mask is None else latents * kept_mask,
        )
        return Batch(latents, noise, t, conditions, training.context_loss)

    def _clips(self, number: int) -> list[EncodedClip]:
        """The clips of the `number`-th batch of the run, from 0."""
        share = self.recipe.training.prior_share
        priors = math.floor(number * share)  # before this one
        if math.floor((number + 1) * share) > priors:
            return self._in_epochs(self.data.prior, "prior epoch", priors)
        return self._in_epochs(self.data.split("train"), "epoch", number - priors)

    def _in_epochs(self, clips: Sequence[EncodedClip], name: str, number: int) -> list[EncodedClip]:
        """The `number`-th batch of `clips`, from 0, when each of them comes once an epoch."""
        buckets = make_buckets(self.crops, clips)
        size = self.recipe.training.batch_size
        per_epoch = sum(math.ceil(len(bucket) / size) for bucket in buckets)
        epoch, position = divmod(number, per_epoch)
        generator = seeded(self.recipe.seed, name, epoch)
        batches = []
        for bucket in buckets:
            order = torch.randperm(len(bucket), generator=generator).tolist()
            batches += [[bucket[i] for i in order[at : at + size]] for at in range(0, len(bucket), size)]
        return batches[int(torch.randperm(per_epoch, generator=generator)[position])]

    def _excerpt(self, clip: EncodedClip, turned: bool, generator: torch.Generator) -> torch.Tensor:
        latents, frames = clip.latents(turned), self.crops.frames(clip)
        if frames == clip.frames:
            return latents
        starts = self.crops.starts(clip)
        start = starts[int(torch.randint(len(starts), (), generator=generator))]
        return latents[:, start : start + frames]

    def _with_silence(
        self, latents: torch.Tensor, clips: list[EncodedClip], generator: torch.Generator
    ) -> torch.Tensor:
        """Add silence after pieces that end within the batch: the base then knows what follows an ending."""
        frames = latents.shape[-1]
        ends = self.recipe.data.length == "whole" and clips[0].frames == frames and not clips[0].is_prior
        most = min(self.data.silence.shape[-1], self.crops.most - frames)
        if not ends or most <= 0:
            return latents
        mean = self.recipe.training.silence_seconds * self.base.sample_rate / self.base.samples_per_latent
        silence = self.data.silence[:, : objective.draw_silence_frames(mean, most, generator)]
        return torch.cat([latents, silence.expand(len(latents), -1, -1)], dim=-1)

    def _caption(self, clip: EncodedClip, generator: torch.Generator) -> str:
        return clip.clip.text if clip.is_prior else draw_caption(clip.clip, self.recipe.data, generator)
