"""Crops of the training sound, anywhere in the stereo: recordings are wider than kits are synthesised."""

from __future__ import annotations

import numpy as np

TURNED, WIDE = 0.3, 0.15  # shares of crops that are panned elsewhere, and that have two unlike channels


def cut_crops(sound: np.ndarray, count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2, length) float32 crops of (2, samples) int16 `sound`."""
    starts = rng.integers(0, sound.shape[1] - length, count)
    crops = np.stack([sound[:, s : s + length] for s in starts]).astype(np.float32) / 32767
    wide = rng.random(count) < WIDE
    crops[wide, 1] = np.roll(crops[:, 1], 1, axis=0)[wide]
    angles = np.where(rng.random(count) < TURNED, rng.uniform(-np.pi / 2, np.pi / 2, count), 0.0)
    cosine, sine = np.cos(angles)[:, None], np.sin(angles)[:, None]
    left, right = crops[:, 0], crops[:, 1]
    turned = [cosine * left - sine * right, sine * left + cosine * right]
    return np.stack(turned, axis=1).astype(np.float32)
