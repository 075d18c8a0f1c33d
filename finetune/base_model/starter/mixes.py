"""Mixes of the training sound: two crops over each other through any equaliser, as recordings are more various than
what is synthesised."""

from __future__ import annotations

import numpy as np

from finetune.base_model.starter.stereo import cut_crops

SOFTER_DB = 12.0  # how much softer than rendered sound may be
SECOND_SOFTER_DB = 20.0  # the same of the crop that is laid over it
SECOND, EQUALISED = 0.5, 0.5  # shares of crops with a second one over them, and that pass the equaliser
KNOTS, LOWEST_HZ = 7, 20.0  # the equaliser: levels at so many places, even in octaves, and lines between
MOST_DB = 9.0


def cut_mixes(sound: np.ndarray, count: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2, length) float32 mixes of (2, samples) int16 `sound` at 44.1 kHz, none louder than full scale."""
    crops = cut_crops(sound, 2 * count, length, rng)
    over = rng.random(count) < SECOND
    first, second = (draw_gains(count, softer, rng) for softer in (SOFTER_DB, SECOND_SOFTER_DB))
    mixes = crops[:count] * first + crops[count:] * second * over[:, None, None]
    mixes = _equalise(mixes, rng)
    return mixes / np.maximum(np.abs(mixes).max((1, 2), keepdims=True), 1).astype(np.float32)


def draw_gains(count: int, softer_db: float, rng: np.random.Generator) -> np.ndarray:
    """(count, 1, 1) factors that make sound up to `softer_db` softer, of either polarity."""
    gains = rng.choice([-1, 1], count) * 10 ** (-rng.uniform(0, softer_db, count) / 20)
    return gains[:, None, None].astype(np.float32)


def _equalise(sounds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    length = sounds.shape[-1]
    octaves = np.log2(np.maximum(np.fft.rfftfreq(length, 1 / 44100), LOWEST_HZ) / LOWEST_HZ)
    places = np.linspace(0, octaves[-1], KNOTS)
    spectra = np.fft.rfft(sounds)
    for spectrum in spectra[rng.random(len(sounds)) < EQUALISED]:
        spectrum *= 10 ** (np.interp(octaves, places, rng.uniform(-MOST_DB, MOST_DB, KNOTS)) / 20)
    return np.fft.irfft(spectra, length).astype(np.float32)
