"""How far what a model plays is from what the player played: MMD over the log-mel of half seconds.

Level is no matter: every clip is brought to one loudness first, so that the distance hears timbre and rhythm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetune.evaluation.bootstrap import interval, resample_counts
from finetune.evaluation.fidelity import log_mel
from finetune.evaluation.mmd import bandwidth, clip_kernel, mmd_squared

BANDS = 64
HOP = 512
WINDOW_SECONDS, STEP_SECONDS = 0.5, 0.25
LEVEL_DB = -20.0
DRAWS = 1000


@dataclass(frozen=True)
class Distances:
    """Squared MMD to the held-out clips, of what each plays; below zero is as close as can be measured.

    `gain` is by how much the adapted base is closer than the base, with its 95 % bootstrap interval. `floor` is
    the distance of the training clips: what the player's own other takes have.
    """

    base: float
    adapted: float
    floor: float
    gain: float
    gain_low: float
    gain_high: float


def describe_clip(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """(windows, 2 · BANDS): mean and deviation over time of each log-mel band, in windows of half a second.

    `sound`: (channels, samples). A clip shorter than a window is one window.
    """
    return describe_frames(log_mel(levelled(sound), sample_rate, BANDS, HOP), sample_rate / HOP)


def levelled(sound: np.ndarray) -> np.ndarray:
    """(channels, samples) at one loudness, LEVEL_DB of full scale as root mean square."""
    loudness = np.sqrt(np.square(sound, dtype=np.float64).mean()) + 1e-9
    return sound * (10 ** (LEVEL_DB / 20) / loudness)


def describe_frames(values: np.ndarray, frames_per_second: float) -> np.ndarray:
    """(windows, 2 · rows): mean and deviation over time of each row of (rows, frames), in windows of half a second."""
    frames, step = (max(1, round(each * frames_per_second)) for each in (WINDOW_SECONDS, STEP_SECONDS))
    starts = range(0, max(1, values.shape[1] - frames + 1), step)
    windows = [values[:, start : start + frames] for start in starts]
    return np.stack([np.concatenate([window.mean(1), window.std(1)]) for window in windows])


def compare(
    base: Sequence[np.ndarray],
    adapted: Sequence[np.ndarray],
    training: Sequence[np.ndarray],
    held_out: Sequence[np.ndarray],
    sample_rate: int,
    seed: int = 0,
) -> Distances:
    """Distances of four sets of (channels, samples) sounds. `base` and `adapted` are pairs: same prompts and seeds.

    Each set has two sounds or more. Descriptors are standardised by the player's clips; the resamplings draw pairs,
    and held-out clips, with replacement.
    """
    b, a, t, h = (
        [describe_clip(sound, sample_rate) for sound in of] for of in (base, adapted, training, held_out)
    )
    return compare_described(b, a, t, h, seed)


def compare_described(
    base: Sequence[np.ndarray],
    adapted: Sequence[np.ndarray],
    training: Sequence[np.ndarray],
    held_out: Sequence[np.ndarray],
    seed: int = 0,
) -> Distances:
    """The same of clips that are described already, each (windows, descriptors)."""
    b, a, t, h = list(base), list(adapted), list(training), list(held_out)
    played = np.concatenate(t + h)
    centre, scale = played.mean(0), played.std(0) + 1e-3
    b, a, t, h = ([(clip - centre) / scale for clip in of] for of in (b, a, t, h))
    width = bandwidth(np.concatenate(b + a + h))
    within = clip_kernel(h, h, width)
    kernels = [(clip_kernel(of, of, width), within, clip_kernel(of, h, width)) for of in (b, a, t)]
    far = [float(mmd_squared(*kernel)[0]) for kernel in kernels]
    generated, heard = resample_counts(len(b), DRAWS, seed), resample_counts(len(h), DRAWS, seed + 1)
    drawn = [mmd_squared(*kernel, generated, heard) for kernel in kernels[:2]]
    low, high = interval(drawn[0] - drawn[1])
    return Distances(
        base=far[0], adapted=far[1], floor=far[2], gain=far[0] - far[1], gain_low=low, gain_high=high
    )
