"""Distances between sets of sounds in two spaces: drum descriptors, and the base's own latents.

Squared MMD with a Gaussian kernel, without bias (Gretton et al. 2012): on embeddings of a model of sound it is what
Chung et al. (2025) call KAD, which needs fewer sounds than FAD and no assumption of their distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from finetune.base_model import BaseModel
from finetune.evaluation.bootstrap import interval, resample_counts
from finetune.evaluation.distance import (
    DRAWS,
    compare_described,
    describe_clip,
    describe_frames,
    levelled,
)
from finetune.evaluation.mmd import bandwidth, clip_kernel, mmd_squared
from finetune.evaluation.results import DistanceTo, Figure

DRUMS, LATENTS = "drum descriptors", "latents of the base"
Describe = Callable[[np.ndarray], np.ndarray]
FEWEST = 2


def spaces(base: BaseModel) -> dict[str, Describe]:
    """Name → what describes a (2, samples) sound as (windows, descriptors), whatever its level."""

    def latents(sound: np.ndarray) -> np.ndarray:
        encoded = base.encode_audio(torch.from_numpy(levelled(sound).astype(np.float32))[None])
        return describe_frames(encoded[0].cpu().numpy(), base.sample_rate / base.samples_per_latent)

    return {DRUMS: lambda sound: describe_clip(sound, base.sample_rate), LATENTS: latents}


@dataclass(frozen=True)
class Described:
    """Sets of sounds in one space, each a list of (windows, descriptors)."""

    base: list[np.ndarray]
    adapted: list[np.ndarray]
    training: list[np.ndarray]
    held_out: list[np.ndarray]


def distances_to_held_out(described: dict[str, Described]) -> list[DistanceTo]:
    """In each space; nothing where a set has one sound alone."""
    found = []
    for space, of in described.items():
        if min(len(each) for each in (of.base, of.adapted, of.training, of.held_out)) >= FEWEST:
            far = compare_described(of.base, of.adapted, of.training, of.held_out)
            gain = Figure(far.gain, far.gain_low, far.gain_high)
            found.append(DistanceTo(space, far.base, far.adapted, far.floor, gain))
    return found


@dataclass(frozen=True)
class Moved:
    """Squared MMD to what the base plays with other seeds: `floor` of the base itself, `played` at each strength, and
    how far that is above the floor; `player` of the player's training takes, None where there is one alone."""

    floor: float
    played: list[float]
    above_floor: list[Figure]
    player: float | None


def moved(
    same_seeds: Sequence[np.ndarray],
    other_seeds: Sequence[np.ndarray],
    played: Sequence[Sequence[np.ndarray]],
    training: Sequence[np.ndarray],
    seed: int = 0,
) -> Moved:
    """Of described sounds. `same_seeds` are the base's, in pairs with those of each set of `played`; these have two or
    more each. Pairs, and the base's other sounds, are drawn with replacement."""
    sets = [list(same_seeds), list(other_seeds), list(training), *map(list, played)]
    known = np.concatenate(sets[0] + sets[1] + sets[2])
    centre, scale = known.mean(0), known.std(0) + 1e-3
    own, other, takes, *heard = ([(clip - centre) / scale for clip in of] for of in sets)
    width = bandwidth(np.concatenate(own + other + takes))
    within = clip_kernel(other, other, width)

    def kernels(of: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return clip_kernel(of, of, width), within, clip_kernel(of, other, width)

    pairs, others = resample_counts(len(own), DRAWS, seed), resample_counts(len(other), DRAWS, seed + 1)
    floor, floors = float(mmd_squared(*kernels(own))[0]), mmd_squared(*kernels(own), pairs, others)
    far = [float(mmd_squared(*kernels(of))[0]) for of in heard]
    above = [
        Figure(value - floor, *interval(mmd_squared(*kernels(of), pairs, others) - floors))
        for value, of in zip(far, heard, strict=True)
    ]
    player = float(mmd_squared(*kernels(takes))[0]) if len(takes) >= FEWEST else None
    return Moved(floor, far, above, player)
