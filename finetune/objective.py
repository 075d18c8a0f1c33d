"""The objective that the Stable Audio 3 bases were trained with: pure functions on tensors.

Rectified flow (Liu et al. 2022): x_t = (1 - t)·x + t·ε, and the model learns ε - x. Everything random is drawn from
the generator that is passed, or passed in itself. Shapes: latents and noise (batch, channels, frames), t (batch,).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.special import ndtr, ndtri

LEFT_CUT = 0.075
MOST_SEGMENTS = 10
SINKHORN_ITERATIONS = 20


def draw_timesteps(count: int, generator: torch.Generator) -> torch.Tensor:
    """`count` times in (0, 1]: one minus a logistic-normal cut at 0.075 on its left and stretched to 0..1.

    Drawn by the inverse of the cut distribution, so that one uniform number makes one time.
    """
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    lowest = ndtr(torch.logit(torch.tensor(LEFT_CUT, dtype=torch.float64)))
    cut = torch.sigmoid(ndtri(lowest + (1 - lowest) * uniform))
    return (1 - (cut - LEFT_CUT) / (1 - LEFT_CUT)).clamp(0, 1).float()


def add_noise(latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """(1 - t)·latents + t·noise."""
    t = t[:, None, None]
    return (1 - t) * latents + t * noise


def draw_kept_mask(
    batch: int, frames: int, shares: Sequence[float], generator: torch.Generator
) -> torch.Tensor:
    """(batch, 1, frames), 1 where the audio is given and 0 where it is to be made.

    `shares` of clips with: one to ten random gaps, which may overlap; everything to make; a given beginning.
    """
    kept = torch.ones(batch, 1, frames)
    weights = torch.tensor(shares, dtype=torch.float64)
    kinds = torch.multinomial(weights, batch, replacement=True, generator=generator).tolist()
    for mask, kind in zip(kept, kinds, strict=True):
        if kind == 0:
            _cut_gaps(mask[0], generator)
        elif kind == 1:
            mask.zero_()
        else:
            mask[0, _whole_number(0, frames, generator) :] = 0
    return kept


def _cut_gaps(mask: torch.Tensor, generator: torch.Generator) -> None:
    frames = len(mask)
    gaps = _whole_number(1, MOST_SEGMENTS, generator)
    longest = max(1, frames // gaps)
    for _ in range(gaps):
        length = _whole_number(1, longest, generator)
        start = _whole_number(0, frames - length, generator)
        mask[start : start + length] = 0


def _whole_number(low: int, high: int, generator: torch.Generator) -> int:
    """Uniform from `low` to `high`, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def draw_some(batch: int, share: float, generator: torch.Generator) -> torch.Tensor:
    """(batch,) bool, each True by the chance of `share`: clips without prompt and length, or upside down."""
    return torch.rand(batch, generator=generator) < share


def draw_silence_frames(mean_frames: float, most: int, generator: torch.Generator) -> int:
    """Frames of silence to add after a piece: exponential with `mean_frames`, at most `most`."""
    uniform = float(torch.rand((), generator=generator, dtype=torch.float64))
    return min(int(-mean_frames * math.log1p(-uniform)), most)


def pair_noise(latents: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """The noise of a batch in the order that lies near its latents: straighter paths to learn.

    Minibatch optimal transport by Sinkhorn's iteration on squared distances, then clip after clip takes its
    likeliest noise that is still free (MelodyFlow, arXiv:2407.03648, 2.5.2). Alone in its batch a clip keeps its own.
    """
    if len(latents) == 1:
        return noise
    cost = torch.cdist(latents.flatten(1).double(), noise.flatten(1).double()).square()
    plan = -cost / cost.mean()
    for _ in range(SINKHORN_ITERATIONS):
        plan = plan - plan.logsumexp(dim=1, keepdim=True)
        plan = plan - plan.logsumexp(dim=0, keepdim=True)
    chosen: list[int] = []
    for row in plan.clone():
        row[chosen] = -torch.inf
        chosen.append(int(row.argmax()))
    return noise[chosen]


def masked_loss(
    predicted: torch.Tensor,
    target: torch.Tensor,
    kept_mask: torch.Tensor | None = None,
    kept_weight: float = 1.0,
) -> torch.Tensor:
    """Mean squared error of the part to make, plus `kept_weight` times that of the part that was given, each a mean
    over clips.

    `kept_mask` (batch, 1, frames) is 1 where given; without it everything was to be made. A clip without a given
    part adds nothing to the second mean, nor one without a part to make to the first.
    """
    error = (predicted.float() - target.float()).square().mean(dim=1, keepdim=True)
    if kept_mask is None:
        return error.mean()
    made_mask = 1 - kept_mask
    made = (error * made_mask).sum((1, 2)) / made_mask.sum((1, 2)).clamp(min=1)
    kept = (error * kept_mask).sum((1, 2)) / kept_mask.sum((1, 2)).clamp(min=1)
    return made.mean() + kept_weight * kept.mean()
