"""Recordings that are copies of each other (another level, format, cut), so that none is held out from itself.

Normalised cross-correlation of log-mel spectrograms: windows of two seconds of the shorter recording are looked for
in the longer. A fresh performance of the same groove also correlates highly, but its windows do not all fit
best at one and the same offset, and that is what a copy is.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np

from data_prep.recording import SAMPLE_RATE

HOP = 882
"""50 frames per second."""
WINDOW = 2048
BANDS = 24
WINDOW_FRAMES = 100
WINDOWS = 4
ALIKE_FROM = 0.95
SAME_OFFSET_FRAMES = 1
LEVEL_STEP_DB = 0.5


@dataclass(frozen=True)
class Fingerprint:
    """`levels`: int8 (frames, BANDS) in steps of half a dB around the mean of the recording."""

    levels: np.ndarray

    def to_text(self) -> str:
        return base64.b64encode(self.levels.tobytes()).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> Fingerprint:
        return cls(np.frombuffer(base64.b64decode(text), np.int8).reshape(-1, BANDS))


def fingerprint(samples: np.ndarray) -> Fingerprint:
    """Of a recording (2, samples)."""
    from librosa.filters import mel

    filters = mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=BANDS, fmin=50.0, fmax=12_000.0).astype(np.float32)
    middle = np.pad(samples.mean(axis=0), WINDOW // 2)
    taper = np.hanning(WINDOW).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(middle, WINDOW)[::HOP]
    power = np.concatenate(
        [np.abs(np.fft.rfft(part * taper, axis=1)) ** 2 @ filters.T for part in _blocks(frames)]
    )
    level = 10 * np.log10(np.maximum(power, power.max() * 1e-6))
    return Fingerprint(np.clip(np.round((level - level.mean()) / LEVEL_STEP_DB), -127, 127).astype(np.int8))


def are_copies(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether most windows of the shorter recording are found in the longer, all at the same offset."""
    short, long = sorted((one.levels, other.levels), key=len)
    size = min(WINDOW_FRAMES, len(short))
    starts = np.unique(np.linspace(0, len(short) - size, WINDOWS).astype(int))
    offsets = []
    for start in starts:
        likeness = _correlate(short[start : start + size].astype(np.float32), long.astype(np.float32))
        best = int(np.argmax(likeness))
        if likeness[best] >= ALIKE_FROM:
            offsets.append(best - int(start))
    needed = max(1, -(-3 * len(starts) // 4))
    return any(sum(abs(a - b) <= SAME_OFFSET_FRAMES for b in offsets) >= needed for a in offsets)


def groups(fingerprints: dict[str, Fingerprint]) -> list[list[str]]:
    """The names in groups of copies, directly or through another; each group and the list sorted."""
    names = sorted(fingerprints)
    group_of = {name: name for name in names}
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            if group_of[name] != group_of[other] and are_copies(fingerprints[name], fingerprints[other]):
                merged, gone = sorted((group_of[name], group_of[other]))
                group_of = {key: merged if value == gone else value for key, value in group_of.items()}
    return [[name for name in names if group_of[name] == first] for first in sorted(set(group_of.values()))]


def _blocks(frames: np.ndarray) -> list[np.ndarray]:
    return [frames[start : start + 2048] for start in range(0, len(frames), 2048)]


def _correlate(window: np.ndarray, long: np.ndarray) -> np.ndarray:
    """Pearson correlation of `window` (frames, bands) with every stretch of `long` of the same length."""
    size = window.shape[0]
    window = window - window.mean()
    length = 1 << (len(long) + size - 1).bit_length()
    spectrum = np.conj(np.fft.rfft(window, length, axis=0)) * np.fft.rfft(long, length, axis=0)
    product = np.fft.irfft(spectrum.sum(axis=1), length)[: len(long) - size + 1]
    sums = np.concatenate([[0.0], np.cumsum(long.sum(axis=1, dtype=np.float64))])
    squares = np.concatenate([[0.0], np.cumsum(np.square(long, dtype=np.float64).sum(axis=1))])
    total, power = sums[size:] - sums[:-size], squares[size:] - squares[:-size]
    variance = np.maximum(power - total**2 / window.size, 1e-9)
    return product / np.sqrt(variance * max(float((window**2).sum()), 1e-9))
