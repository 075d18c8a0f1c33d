"""Where to cut a recording, and the cut itself.

All positions are samples at 44.1 kHz of the decoded, resampled recording. A slice is rebuilt bit for bit from the
recording and its row of the manifest by `cut`, the function that the writer itself uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from data_prep.rhythm.onsets import Onset
from data_prep.sound.blocks import in_blocks, peak, window
from data_prep.sound.recording import SAMPLE_RATE

PRE_ROLL = round(0.003 * SAMPLE_RATE)
FADE_IN = round(0.0015 * SAMPLE_RATE)
FADE_OUT = round(0.005 * SAMPLE_RATE)
ZERO_CROSSING_REACH = round(0.001 * SAMPLE_RATE)
PEAK_DBFS = -1.0
HIGHEST_BOOST_DB = 24.0
SHORTEST_ONE_SHOT = round(0.05 * SAMPLE_RATE)
LONGEST_ONE_SHOT = 4 * SAMPLE_RATE
DECAYED_DB = -60.0
ABOVE_ROOM_DB = 3.0
PAUSE_SECONDS = 0.5
PAUSE_DB = -45.0
ENVELOPE = round(0.01 * SAMPLE_RATE)
"""Samples per value of the level envelope (10 ms)."""
LOOP_EDGE = round(0.02 * SAMPLE_RATE)


class Slicing(StrEnum):
    bars = "bars"
    onsets = "onsets"
    phrases = "phrases"
    whole = "whole"
    fixed = "fixed"
    cues = "cues"


class KeepOrDrop(StrEnum):
    keep = "keep"
    drop = "drop"


class Tail(StrEnum):
    drop = "drop"
    keep = "keep"
    pad = "pad"


@dataclass(frozen=True)
class Span:
    """`start` to `end` (exclusive) of a recording, with the lengths of its fades, all in samples."""

    start: int
    end: int
    fade_in: int = FADE_IN
    fade_out: int = FADE_OUT

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / SAMPLE_RATE


@dataclass(frozen=True)
class Rest:
    """A stretch of a recording that no slice covers, and why."""

    start: int
    end: int
    reason: str


def cut(samples: np.ndarray, start: int, end: int, gain_db: float, fade_in: int, fade_out: int) -> np.ndarray:
    """The slice (2, end - start) of a recording (2, samples), float32: one gain, raised-cosine fades.

    What it has beyond the end of the recording is silence.
    """
    piece = window(samples, start, end) * np.float32(10 ** (gain_db / 20))
    if fade_in:
        piece[:, :fade_in] *= _fade(fade_in)
    if fade_out:
        piece[:, -fade_out:] *= _fade(fade_out)[::-1]
    return piece


def gain_for(samples: np.ndarray) -> float:
    """The one gain of a recording in dB, to three places: its peak to -1 dBFS at most, raised by 24 dB at most."""
    peak_db = 20 * np.log10(peak(samples))
    below = 0.00051  # half of the last place, and what float32 may round up
    return round(min(PEAK_DBFS - below - peak_db, HIGHEST_BOOST_DB), 3)


def one_shots(samples: np.ndarray, onsets: list[Onset]) -> tuple[list[Span], list[Rest]]:
    """One slice per hit: from 3 ms before it, at a zero crossing, to the next hit or where it has died away."""
    level = level_envelope(samples)
    room = float(np.percentile(level, 5)) + ABOVE_ROOM_DB
    starts = [_zero_crossing(samples, max(0, onset.sample - PRE_ROLL)) for onset in onsets]
    spans, rests = [], []
    for onset, start, following in zip(onsets, starts, [*starts[1:], samples.shape[1]], strict=True):
        end = min(following, _decayed(level, start, following, room), start + LONGEST_ONE_SHOT)
        if not onset.clear:
            rests.append(Rest(start, end, "where the hit starts is not clear"))
        elif end - start < SHORTEST_ONE_SHOT:
            rests.append(Rest(start, end, "the next hit follows within 50 ms"))
        else:
            spans.append(Span(start, end))
    return spans, rests


def phrases(samples: np.ndarray, onsets: list[Onset]) -> tuple[list[Span], list[Rest]]:
    """What is played between pauses of half a second or more, from 3 ms before its first hit."""
    level = level_envelope(samples)
    sounding = level > level.max() + PAUSE_DB
    struck = np.array([onset.sample for onset in onsets])
    spans, rests = [], []
    for first, last in _runs(sounding, round(PAUSE_SECONDS * SAMPLE_RATE / ENVELOPE)):
        begin, end = first * ENVELOPE, min(samples.shape[1], (last + 1) * ENVELOPE)
        inside = struck[(struck >= begin - ENVELOPE) & (struck < end)]
        if not len(inside):
            rests.append(Rest(begin, end, "sound without a hit"))
        else:
            spans.append(Span(max(0, int(inside[0]) - PRE_ROLL), end))
    return spans, rests


def fixed(length: int, onsets: list[Onset], seconds: float) -> tuple[list[Span], list[Rest]]:
    """Windows of `seconds` from 3 ms before the first hit; a last incomplete one is left over."""
    first = max(0, onsets[0].sample - PRE_ROLL) if onsets else 0
    exact = seconds * SAMPLE_RATE
    count = int((length - first) // exact)
    spans = [Span(round(first + k * exact), round(first + k * exact) + round(exact)) for k in range(count)]
    spans = [span for span in spans if span.end <= length]
    end = spans[-1].end if spans else first
    return spans, [Rest(end, length, "the last window would be incomplete")] if length > end else []


def at_cues(samples: np.ndarray, cues: list[int]) -> tuple[list[Span], list[Rest]]:
    """From each cue marker (a sample), at the zero crossing nearest to it, to the next one or the end."""
    length = samples.shape[1]
    places = sorted({_zero_crossing(samples, cue) for cue in cues if 0 <= cue < length})
    spans, rests = [], []
    for start, end in zip(places, [*places[1:], length], strict=True):
        if end - start < SHORTEST_ONE_SHOT:
            rests.append(Rest(start, end, "the next cue marker follows within 50 ms"))
        else:
            spans.append(Span(start, end))
    if places and places[0] > SHORTEST_ONE_SHOT:
        rests.insert(0, Rest(0, places[0], "it is before the first cue marker"))
    return spans, rests


def level_envelope(samples: np.ndarray) -> np.ndarray:
    """RMS in dBFS of every 10 ms of a recording (2, samples)."""
    power = [_block_power(block) for _, block in in_blocks(samples, 1000 * ENVELOPE)]
    return 10 * np.log10(np.concatenate(power) / ENVELOPE + 1e-12)


def _block_power(block: np.ndarray) -> np.ndarray:
    starts = np.arange(0, block.shape[1], ENVELOPE)
    return np.add.reduceat(np.square(block, dtype=np.float32).mean(axis=0), starts)


def _fade(length: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)).astype(np.float32)


def _zero_crossing(samples: np.ndarray, sample: int) -> int:
    """The crossing nearest to `sample` within 1 ms, or the quietest sample there."""
    low, high = max(0, sample - ZERO_CROSSING_REACH), min(samples.shape[1], sample + ZERO_CROSSING_REACH + 1)
    near = samples[:, low:high].mean(axis=0)
    crossings = np.flatnonzero(np.signbit(near[1:]) != np.signbit(near[:-1])) + 1
    if not len(crossings):
        return low + int(np.argmin(np.abs(near)))
    return low + int(crossings[np.argmin(np.abs(crossings - (sample - low)))])


def _decayed(level: np.ndarray, start: int, following: int, room: float) -> int:
    """The sample from which on a hit stays 60 dB below its loudest 10 ms, or below the level of the `room`."""
    part = level[start // ENVELOPE : max(following // ENVELOPE, start // ENVELOPE + 1)]
    floor = max(float(part.max()) + DECAYED_DB, room)
    above = np.flatnonzero(part > floor)
    return (start // ENVELOPE + (int(above[-1]) if len(above) else 0) + 2) * ENVELOPE


def _runs(sounding: np.ndarray, longest_gap: int) -> list[tuple[int, int]]:
    """First and last index of each run of True; gaps shorter than `longest_gap` belong to the run."""
    index = np.flatnonzero(sounding)
    if not len(index):
        return []
    breaks = np.flatnonzero(np.diff(index) > longest_gap)
    firsts, lasts = index[np.r_[0, breaks + 1]], index[np.r_[breaks, len(index) - 1]]
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]
