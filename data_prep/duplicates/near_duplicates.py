"""Recordings that are copies of each other (another level, format, cut), so that none is held out from itself.

Normalised cross-correlation of log-mel spectrograms: windows of two seconds of the shorter recording are looked for
in the longer. A fresh performance of the same groove also correlates highly (.94 to .98 where a copy has .99), and
its windows do not all fit best at one and the same offset to 5 ms: that is what a copy is.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from data_prep.duplicates.alike import pairs_alike, window_starts
from data_prep.sound.blocks import release, window
from data_prep.sound.recording import SAMPLE_RATE

HOP = 220
"""200 frames per second: a drummer does not repeat a bar to within 5 ms."""
WINDOW = 512
BANDS = 12
BLOCK_FRAMES = 8192
WINDOW_FRAMES = 400
SHARE_OF_WINDOWS = 0.5
ALIKE_FROM = 0.985
SHORT_ALIKE_FROM = 0.995
"""For recordings under two seconds: two strokes of one drum are more alike than two bars."""
SAME_OFFSET_FRAMES = 1
RANGE_POWER = 1e-4
LEVEL_STEP_DB = 0.5
COARSE = 8
COARSE_ALIKE_FROM = 0.8
"""A first look at every eighth of the time spares most pairs the second."""


@dataclass(frozen=True)
class Fingerprint:
    """`levels`: int8 (frames, BANDS) in steps of half a dB around the mean of the recording."""

    levels: np.ndarray

    def to_text(self) -> str:
        return base64.b64encode(self.levels.tobytes()).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> Fingerprint:
        return cls(np.frombuffer(base64.b64decode(text), np.int8).reshape(-1, BANDS))

    def coarse(self) -> np.ndarray:
        """float32 (frames / COARSE, BANDS)."""
        frames = len(self.levels) // COARSE * COARSE
        return self.levels[:frames].reshape(-1, COARSE, BANDS).mean(axis=1, dtype=np.float32)


def fingerprint(samples: np.ndarray) -> Fingerprint:
    """Of a recording (2, samples)."""
    from librosa.filters import mel

    filters = mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=BANDS, fmin=50.0, fmax=12_000.0).astype(np.float32)
    frames = samples.shape[1] // HOP + 1
    parts = [
        _band_power(samples, start, min(frames, start + BLOCK_FRAMES), filters)
        for start in range(0, frames, BLOCK_FRAMES)
    ]
    power = np.concatenate(parts)
    level = 10 * np.log10(np.maximum(power, power.max() * RANGE_POWER))
    return Fingerprint(np.clip(np.round((level - level.mean()) / LEVEL_STEP_DB), -127, 127).astype(np.int8))


def _band_power(samples: np.ndarray, first: int, last: int, filters: np.ndarray) -> np.ndarray:
    """(frames, BANDS) of frames first to last, of both channels together."""
    taper = np.hanning(WINDOW).astype(np.float32)
    start = first * HOP - WINDOW // 2
    middle = window(samples, start, start + (last - 1 - first) * HOP + WINDOW).mean(axis=0)
    spectrum = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(middle, WINDOW)[::HOP] * taper, axis=1)
    release(samples)
    return (spectrum.real**2 + spectrum.imag**2) @ filters.T


def are_copies(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether half the windows of the shorter recording are found in the longer, all at the same offset."""
    short, long = sorted((one, other), key=lambda mark: len(mark.levels))
    matches = _best_matches(short.levels.astype(np.float32), long.levels.astype(np.float32), WINDOW_FRAMES)
    alike_from = ALIKE_FROM if len(short.levels) >= WINDOW_FRAMES else SHORT_ALIKE_FROM
    offsets = [offset for offset, likeness in matches if likeness >= alike_from]
    needed = max(1, round(SHARE_OF_WINDOWS * len(matches)))
    return any(sum(abs(a - b) <= SAME_OFFSET_FRAMES for b in offsets) >= needed for a in offsets)


def groups(fingerprints: dict[str, Fingerprint]) -> list[list[str]]:
    """The names in groups of copies, directly or through another; each group and the list sorted."""
    names = sorted(fingerprints)
    group_of = {name: name for name in names}
    coarse = {name: mark.coarse() for name, mark in fingerprints.items()}
    for first, second in pairs_alike(coarse, WINDOW_FRAMES // COARSE, COARSE_ALIKE_FROM):
        if group_of[first] != group_of[second] and are_copies(fingerprints[first], fingerprints[second]):
            merged, gone = sorted((group_of[first], group_of[second]))
            group_of = {key: merged if value == gone else value for key, value in group_of.items()}
    return [[name for name in names if group_of[name] == first] for first in sorted(set(group_of.values()))]


def _best_matches(short: np.ndarray, long: np.ndarray, window: int) -> list[tuple[int, float]]:
    """For a few windows of `short`: by how many frames it is shifted in `long` where it fits best, and how well."""
    size = min(window, len(short))
    if not size:
        return []
    matches = []
    for start in window_starts(len(short), size):
        likeness = _correlate(short[start : start + size], long)
        best = int(np.argmax(likeness))
        matches.append((best - int(start), float(likeness[best])))
    return matches


def _correlate(window: np.ndarray, long: np.ndarray) -> np.ndarray:
    """Correlation of `window` (frames, bands) with every stretch of `long` of its length, each band around its own
    mean, so that the colour of the sound counts for nothing and its course in time for all."""
    size = len(window)
    window = window - window.mean(axis=0)
    length = 1 << (len(long) + size - 1).bit_length()
    spectrum = np.conj(np.fft.rfft(window, length, axis=0)) * np.fft.rfft(long, length, axis=0)
    product = np.fft.irfft(spectrum.sum(axis=1), length)[: len(long) - size + 1]
    none = np.zeros((1, long.shape[1]))
    sums = np.concatenate([none, np.cumsum(long, axis=0, dtype=np.float64)])
    squares = np.concatenate([none, np.cumsum(np.square(long, dtype=np.float64), axis=0)])
    total, power = sums[size:] - sums[:-size], squares[size:] - squares[:-size]
    variance = np.maximum((power - total**2 / size).sum(axis=1), 1e-6)
    return product / np.sqrt(variance * max(float((window**2).sum()), 1e-9))
