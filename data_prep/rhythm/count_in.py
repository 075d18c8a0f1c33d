"""Count-ins: four even stick clicks before the first bar.

Conservative: what only might be a count-in is kept as music. The clicks are the first four sounds, evenly apart by a
beat or half of one, alike in sound, without bass; the music begins one more such step later, with another sound; and
the sound of the clicks hardly comes back in it.
"""

from __future__ import annotations

import numpy as np

from data_prep.rhythm.onsets import Onset
from data_prep.sound.blocks import window
from data_prep.sound.recording import SAMPLE_RATE

CLICKS = 4
STEPS_IN_BEATS = (1.0, 2.0, 0.5)
UNEVEN = 0.06
"""Steps between clicks differ by this share of a step at most."""
ALIKE = 0.9
"""Correlation of the spectra of two sounds from which they are the same stick."""
BASS_SHARE = 0.1
"""Bass of a click beside the heavier hits of the take."""
COMES_BACK = 0.1
SPECTRUM_SAMPLES = 2048
BANDS = 24
COMPARED = 200
"""Hits of the music that are compared with the clicks."""


def find_count_in(samples: np.ndarray, onsets: list[Onset], bass: np.ndarray, bpm: float) -> int:
    """How many of the first hits are a count-in: 4, or 0. `bass` is how heavy each hit is (downbeat.low_weights)."""
    if len(onsets) < 3 * CLICKS:
        return 0
    places = np.array([onset.sample for onset in onsets[: CLICKS + 1]], np.float64)
    steps = np.diff(places)
    step = float(np.median(steps))
    if np.abs(steps / step - 1).max() > UNEVEN:
        return 0
    beats = step / SAMPLE_RATE * bpm / 60
    if min(abs(beats / wanted - 1) for wanted in STEPS_IN_BEATS) > UNEVEN:
        return 0
    if bass[:CLICKS].max() > BASS_SHARE * np.percentile(bass[CLICKS:], 90):
        return 0
    spectra = np.stack([_spectrum(samples, onset.sample) for onset in onsets[: CLICKS + COMPARED]])
    click = spectra[:CLICKS].mean(axis=0)
    like = np.array([np.corrcoef(click, each)[0, 1] for each in spectra])
    music = like[CLICKS:]
    if like[:CLICKS].min() < ALIKE or music[0] >= ALIKE or np.mean(music >= ALIKE) > COMES_BACK:
        return 0
    return CLICKS


def _spectrum(samples: np.ndarray, start: int) -> np.ndarray:
    """Level in dB of 24 bands, from 1 to 18 kHz, in the 46 ms from `start` on: there a drum does not hide a stick."""
    piece = (
        window(samples, start, start + SPECTRUM_SAMPLES) * np.hanning(2 * SPECTRUM_SAMPLES)[SPECTRUM_SAMPLES:]
    )
    power = (np.abs(np.fft.rfft(piece, axis=1)) ** 2).sum(axis=0)
    edges = np.geomspace(1000, 18_000, BANDS + 1) * SPECTRUM_SAMPLES / SAMPLE_RATE
    first = np.unique(edges.astype(int))
    bands = np.add.reduceat(power, first)[:-1] / np.diff(first)
    return 10 * np.log10(bands + 1e-12 * power.max() + 1e-20)
