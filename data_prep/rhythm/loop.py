"""Loops that were cut to length: they last a whole number of beats, and that says their tempo to the sample."""

from __future__ import annotations

import numpy as np

from data_prep.rhythm.onsets import Onset
from data_prep.rhythm.tempo_grid import coherence, prior
from data_prep.sound.recording import SAMPLE_RATE

BEATS = (1, 2, 4, 8, 16, 32, 64)
LONGEST_SECONDS = 30.0
SHORT_SECONDS = 12.0
"""Up to here the length alone may say the tempo, where there are too few hits to say it."""
FEWEST_HITS = 4
EDGE_SECONDS = 0.03
WITHIN = 0.01
LEAST_KEPT = 0.25
"""Coherence of the hits with the tempo of the length: little, since the length has said most."""


def exact_loop(bpm: float, onsets: list[Onset], seconds: float) -> float:
    """The tempo at which a recording of `seconds` lasts whole beats, where that is within 1 % of `bpm` and it starts
    on its first hit; else `bpm`."""
    if seconds > LONGEST_SECONDS or onsets[0].sample > EDGE_SECONDS * SAMPLE_RATE:
        return bpm
    exact = 60 / seconds * min(BEATS, key=lambda beats: abs(np.log(60 * beats / seconds / bpm)))
    return exact if abs(exact / bpm - 1) <= WITHIN else bpm


def loop_tempo(onsets: list[Onset], seconds: float, lowest: float, highest: float) -> float | None:
    """Of the tempi at which a short recording lasts 1, 2, 4, 8, ... beats the likeliest that its hits keep to."""
    if seconds > SHORT_SECONDS or len(onsets) < FEWEST_HITS:
        return None
    tempi = [60 * beats / seconds for beats in BEATS if lowest <= 60 * beats / seconds <= highest]
    kept = {bpm: coherence(bpm, onsets) for bpm in tempi}
    likely = max(tempi, key=lambda bpm: kept[bpm] * prior(bpm), default=None)
    return likely if likely and kept[likely] >= LEAST_KEPT else None
