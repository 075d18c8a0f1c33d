"""What a stretch of sound looks like, as small numbers that the page draws in its own colours."""

from __future__ import annotations

import numpy as np

from data_prep.sound.recording import SAMPLE_RATE

BANDS = 96
LOWEST_HZ, HIGHEST_HZ = 40.0, 18_000.0
FRAMES = 720
WINDOW = 2048
RANGE_DB = 72.0


def peaks(samples: np.ndarray, columns: int) -> np.ndarray:
    """Lowest and highest value of each column, int8 (columns, 2), of a stretch (channels, samples)."""
    middle = samples.mean(axis=0) if len(samples) > 1 else samples[0]
    if not len(middle):
        return np.zeros((columns, 2), np.int8)
    edges = np.linspace(0, len(middle), columns + 1).astype(np.int64)[:-1]
    lowest, highest = np.minimum.reduceat(middle, edges), np.maximum.reduceat(middle, edges)
    pair = np.stack([lowest, highest], axis=1)
    return np.clip(np.round(pair * 127), -127, 127).astype(np.int8)


def spectrogram(samples: np.ndarray) -> np.ndarray:
    """Levels uint8 (frames, bands) of a stretch (channels, samples): 0 is 72 dB below the loudest, 255 the loudest.
    Bands lie evenly in pitch from 40 Hz to 18 kHz, the lowest first; a frame is the middle of its column."""
    middle = samples.mean(axis=0)
    frames = max(1, min(FRAMES, len(middle) // 64))
    padded = np.pad(middle, WINDOW // 2)
    starts = (np.arange(frames) + 0.5) * len(middle) / frames
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[starts.astype(np.int64)]
    power = np.abs(np.fft.rfft(windows * np.hanning(WINDOW).astype(np.float32), axis=1)) ** 2
    level = 10 * np.log10(_bands(power) + 1e-12)
    shown = (level - level.max() + RANGE_DB) / RANGE_DB
    return np.round(255 * np.clip(shown, 0, 1)).astype(np.uint8)


def _bands(power: np.ndarray) -> np.ndarray:
    """The highest of each band of a power spectrum (frames, bins); between two bins, where a band holds none."""
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1) * WINDOW / SAMPLE_RATE
    highest = np.maximum.reduceat(power, np.round(edges[:-1]).astype(np.int64), axis=1)
    centre = np.sqrt(edges[:-1] * edges[1:])
    below = centre.astype(np.int64)
    between = power[:, below] + (centre - below) * (power[:, below + 1] - power[:, below])
    return np.where(np.diff(edges) < 1.5, between, highest)
