"""Sound that a generation begins from (audio-to-audio) or keeps (inpainting, continuation).

The model sees what is kept as latents; what it returns there has passed the autoencoder. `splice` puts the samples
themselves back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from finetune.base_model import BaseModel
from finetune.errors import WoodshedError

FADE_SECONDS = 0.01
_RANGE = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*-\s*(\d+\.?\d*|\.\d+)?\s*")
Span = tuple[int, int]  # first sample and the one after the last


@dataclass(frozen=True)
class Given:
    """`audio` (2, samples) at the base's rate, from the beginning of the sound that will be.

    The sound starts from it mixed with `noise` of noise: 1 is noise alone. Its spans `keep` stay; `ranges` is how they
    were named.
    """

    audio: np.ndarray
    noise: float = 1.0
    keep: tuple[Span, ...] = ()
    ranges: tuple[str, ...] = ()


@dataclass(frozen=True)
class GivenLatents:
    """The same for the model: `latents` (channels, frames) and `kept` (frames,), True where they stay."""

    latents: torch.Tensor
    noise: float
    kept: torch.Tensor


def encode_given(base: BaseModel, given: Given, frames: int) -> GivenLatents:
    """`frames` latents of the sound, continued with silence or cut; Stability's reading of what is kept."""
    samples = frames * base.samples_per_latent
    audio = torch.zeros(2, samples)
    part = torch.from_numpy(given.audio[:, :samples])
    audio[:, : part.shape[1]] = part
    latents = base.encode_audio(audio[None])[0]
    return GivenLatents(latents, given.noise, kept_frames(given.keep, frames, base.samples_per_latent))


def kept_frames(keep: Sequence[Span], frames: int, samples_per_latent: int) -> torch.Tensor:
    """(frames,) bool: a latent stays when its first sample is in a kept span."""
    first = torch.arange(frames) * samples_per_latent
    kept = torch.zeros(frames, dtype=torch.bool)
    for start, stop in keep:
        kept |= (first >= start) & (first < stop)
    return kept


def read_spans(ranges: Sequence[str], given_samples: int, samples: int, sample_rate: int) -> tuple[Span, ...]:
    """Spans of samples from ranges of seconds such as `0-4`, or `12-` for all to the end of the file.

    In order and without overlap. Raises WoodshedError for what is no range, lies outside the file or the sound, or
    leaves nothing to generate.
    """
    spans = sorted(_span(text, given_samples, samples, sample_rate) for text in ranges)
    joined: list[Span] = []
    for start, stop in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    if joined and joined[0][0] == 0 and joined[0][1] >= samples:
        raise WoodshedError(
            "--keep covers the whole sound, which leaves nothing to generate. Keep less of it, or ask for a longer "
            "sound with --seconds."
        )
    return tuple(joined)


def _span(text: str, given_samples: int, samples: int, sample_rate: int) -> Span:
    found = _RANGE.fullmatch(text)
    if not found:
        raise WoodshedError(
            f"--keep '{text}' is no range of seconds. Write 0-4 for the first four, or 12- for all from 12 on."
        )
    start = round(float(found[1]) * sample_rate)
    stop = round(float(found[2]) * sample_rate) if found[2] else min(given_samples, samples)
    end = min(given_samples, samples)
    if stop > end or start >= end:
        what, cure = (
            ("the sound", "--seconds") if samples < given_samples else ("the file of --init", "--keep")
        )
        raise WoodshedError(
            f"--keep {text} goes beyond the end of {what}, at {_floor(end / sample_rate)} seconds. Change {cure}, or "
            f"write {found[1]}- for all to its end."
            if start < end
            else f"--keep {text} begins after the end of {what}, at {_floor(end / sample_rate)} seconds."
        )
    if start >= stop:
        raise WoodshedError(f"--keep {text} is empty: write the earlier second first.")
    return start, stop


def _floor(seconds: float) -> str:
    return f"{math.floor(seconds * 1000) / 1000:g}"


def splice(made: np.ndarray, given: np.ndarray, keep: Sequence[Span], fade: int) -> np.ndarray:
    """`made` (2, samples) with the samples of `given` in the spans `keep`, crossfaded over `fade` samples.

    Each crossfade ends where a span begins or ends, since a beat begins there: what is kept sounds untouched from its
    first sample, and what follows it begins without a rest of the old.
    """
    length = made.shape[1]
    share = np.zeros(length, np.float32)
    padded = np.zeros_like(made)
    padded[:, : min(length, given.shape[1])] = given[:, :length]
    for start, stop in keep:
        rise = min(fade, start)
        fall = min(fade, (stop - start) // 2) if stop < length else 0
        share[start - rise : start] = np.maximum(share[start - rise : start], np.arange(rise) / max(rise, 1))
        share[start:stop] = 1
        share[stop - fall : stop] = 1 - np.arange(fall) / max(fall, 1)
    return made * (1 - share) + padded * share
