"""Where the bars of a take begin: where its player says, by word or by cue markers, else at its first hit, for nothing
else was reliable; how sure that is, is recorded."""

from __future__ import annotations

import numpy as np

from data_prep.rhythm.onsets import Onset
from data_prep.sound.blocks import in_blocks
from data_prep.sound.recording import SAMPLE_RATE

REAL_HIT = 0.1
"""Strength, beside the strongest hit, from which a first hit counts: a stick that touches a rim does not."""
NEAR_BEAT_SECONDS = 0.03
COMPARED_SECONDS = 4.0
NEAR_BEAT = 0.125
"""In beats."""
EXACT_SECONDS, MEANT_SECONDS = 0.012, 0.05
"""A downbeat that is said stands as it is where a hit, or the beat of the hits, is as near as the first; a beat
within the second is meant."""
CUE_NEAR_BAR = 0.1
"""In beats: how far from a bar line a cue marker still stands for it."""
LOW_BLOCK = 128
"""Averaging this many samples keeps what is below some 150 Hz."""


def find_anchor(onsets: list[Onset], bpm: float) -> float:
    """The first beat in samples: the first real hit, corrected by how early or late it is beside the beats of the
    next seconds."""
    first = next((onset for onset in onsets if onset.strength >= REAL_HIT), onsets[0])
    beat = 60 / bpm * SAMPLE_RATE
    samples = np.array([onset.sample for onset in onsets], np.float64) - first.sample
    samples = samples[samples <= COMPARED_SECONDS * SAMPLE_RATE]
    late = samples - np.round(samples / beat) * beat
    near = late[np.abs(late) <= NEAR_BEAT_SECONDS * SAMPLE_RATE]
    return max(0.0, first.sample + float(np.median(near)))


def place_downbeat(sample: float, onsets: list[Onset], bpm: float) -> float:
    """The first downbeat as a player says it, moved to the beat that is meant where it is said roughly (0.8 s)."""
    hit = min(range(len(onsets)), key=lambda number: abs(onsets[number].sample - sample))
    meant = find_anchor(onsets[hit:], bpm)
    away = [abs(place - sample) / SAMPLE_RATE for place in (meant, onsets[hit].sample)]
    return meant if min(away) > EXACT_SECONDS and away[0] <= MEANT_SECONDS else sample


def place_cues(cues: list[int], anchor: float, bpm: float, quarter_notes: float) -> float | None:
    """The first downbeat by cue markers (samples, in order); None where they do not stand on bar lines.

    Two and more must be whole bars apart. A single one must be on a beat of the hits, which are on `anchor`.
    """
    beat = 60 / bpm * SAMPLE_RATE
    if len(cues) == 1:
        beats = (cues[0] - anchor) / beat
        return float(cues[0]) if abs(beats - round(beats)) <= CUE_NEAR_BAR else None
    bars = (np.array(cues) - cues[0]) / (beat * quarter_notes)
    steps = np.diff(bars)
    off = np.abs(steps - np.round(steps)) * quarter_notes
    fits = (off <= CUE_NEAR_BAR * np.maximum(1, np.round(steps))) & (np.round(steps) >= 1)
    return float(cues[0]) if np.all(fits) else None


def low_weights(samples: np.ndarray, onsets: list[Onset]) -> np.ndarray:
    """How heavy each hit is below some 150 Hz: what a kick or a bass stroke has most of. One value per onset."""
    low = np.concatenate([_low(block) for _, block in in_blocks(samples)])
    reach = round(0.06 * SAMPLE_RATE / LOW_BLOCK)
    starts = [onset.sample // LOW_BLOCK for onset in onsets]
    return np.array(
        [float(np.sqrt(np.mean(np.square(low[a : a + reach])))) if a < len(low) else 0.0 for a in starts]
    )


def _low(block: np.ndarray) -> np.ndarray:
    length = block.shape[1] // LOW_BLOCK * LOW_BLOCK
    return block[:, :length].mean(axis=0).reshape(-1, LOW_BLOCK).mean(axis=1)


def downbeat_confidence(
    onsets: list[Onset], weights: np.ndarray, anchor: float, bpm: float, quarter_notes: float
) -> float:
    """0 to 1: how much more of the bass falls on the first beat of the bar than on the others; 0 says nothing."""
    bar = quarter_notes * 60 / bpm * SAMPLE_RATE
    beats = int(np.ceil(quarter_notes))
    if beats < 2:
        return 0.0
    on_beat = np.zeros(beats)
    for onset, weight in zip(onsets, weights, strict=True):
        position = (onset.sample - anchor) / bar % 1 * quarter_notes
        if quarter_notes - position < NEAR_BEAT:
            on_beat[0] += weight
        elif abs(position - round(position)) < NEAR_BEAT:
            on_beat[round(position)] += weight
    share = float(on_beat[0] / max(float(on_beat.sum()), 1e-9))
    return round(max(0.0, (share - 1 / beats) / (1 - 1 / beats)), 2)
