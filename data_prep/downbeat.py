"""Where the bars of a take begin: at its first hit, for nothing else was reliable; how sure that is, is recorded."""

from __future__ import annotations

import numpy as np

from data_prep.onsets import Onset
from data_prep.recording import SAMPLE_RATE

REAL_HIT = 0.1
"""Strength, beside the strongest hit, from which a first hit counts: a stick that touches a rim does not."""
NEAR_BEAT_SECONDS = 0.03


def find_anchor(onsets: list[Onset], bpm: float) -> float:
    """The first beat in samples: the first real hit, corrected by how early or late it is beside the other beats."""
    first = next((onset for onset in onsets if onset.strength >= REAL_HIT), onsets[0])
    beat = 60 / bpm * SAMPLE_RATE
    samples = np.array([onset.sample for onset in onsets], np.float64) - first.sample
    late = samples - np.round(samples / beat) * beat
    near = late[np.abs(late) <= NEAR_BEAT_SECONDS * SAMPLE_RATE]
    return max(0.0, first.sample + float(np.median(near)))


def downbeat_confidence(onsets: list[Onset], anchor: float, bpm: float, quarter_notes: float) -> float:
    """0 to 1: the share of the weight on the beats of the bar that falls on its first; 1 / beats says nothing."""
    bar = quarter_notes * 60 / bpm * SAMPLE_RATE
    beats = int(np.ceil(quarter_notes))
    weight = np.zeros(beats)
    for onset in onsets:
        position = (onset.sample - anchor) / bar % 1 * quarter_notes
        nearest = round(position)
        if abs(position - nearest) < 0.125 or position > quarter_notes - 0.125:
            weight[nearest % beats if nearest < quarter_notes else 0] += onset.strength
    return round(float(weight[0] / weight.sum()), 2) if weight.sum() else 0.0
