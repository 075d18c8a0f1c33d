"""What a slice sounds like, in plain facts: each `{value, source, confidence}`, and none below its threshold."""

from __future__ import annotations

import warnings

import numpy as np

from data_prep.captioning.captions import SWUNG_FROM
from data_prep.fact import Fact, fact
from data_prep.heard.key import key
from data_prep.heard.kit_pieces import heard_pieces
from data_prep.heard.room import room
from data_prep.rhythm.onsets import Onset
from data_prep.slicing.slices import Slicing, level_envelope
from data_prep.sound.recording import SAMPLE_RATE
from data_prep.sound.tags import Tags

STRONG_ONSET = 0.2
SPARSE_BELOW, DENSE_FROM = 2.5, 8.0
"""Hits per second."""
DARK_BELOW_HZ, BRIGHT_FROM_HZ = 1700.0, 6000.0
EVEN_BELOW_DB, DYNAMIC_FROM_DB = 2.0, 6.0
FEWEST_HITS_FOR_DYNAMICS = 6
MONO_BELOW_DB, NARROW_BELOW_DB, WIDE_FROM_DB = -35.0, -20.0, -6.0
SHORTEST_LOUDNESS_SECONDS = 0.4
FEWEST_OFFBEATS = 8
LONGEST_LOOP_SECONDS = 30.0
LOOP_STARTS_SECONDS = 0.05
SHORTEST_NOISE_SECONDS = 1.0


def describe(piece: np.ndarray, onsets: list[Onset], slicing: Slicing) -> dict[str, Fact]:
    """Measured facts of one slice (2, samples); `onsets` are those within it, positions from its start."""
    seconds = piece.shape[1] / SAMPLE_RATE
    strong = [onset for onset in onsets if onset.strength >= STRONG_ONSET]
    facts = {
        "seconds": fact(round(seconds, 3), "measurement", 1.0),
        "kind": fact(_kind(strong, seconds, slicing), "measurement", 0.9),
        **brightness(piece),
        **_loudness(piece),
        **noise_floor(piece),
        **width(piece),
    }
    one_shot = facts["kind"]["value"] == "one-shot"
    facts |= heard_pieces(piece, onsets, one_shot)
    if not one_shot:
        facts |= density(len(onsets) / seconds) | dynamics(piece, onsets) | room(piece, onsets) | key(piece)
    return facts


def named_facts(tags: Tags) -> dict[str, Fact]:
    """What the tags and the name say about the instrument and the music."""
    facts: dict[str, Fact] = {}
    if tags.instruments:
        facts["instruments"] = fact(tags.instruments, "name", 0.9)
    if tags.pieces:
        facts["pieces"] = fact(list(tags.pieces), "name", 0.9)
    if tags.genre:
        facts["genre"] = fact(tags.genre, tags.genre_source, 0.8)
    return facts


def swing(onsets: list[Onset], bpm: float, anchor: float) -> Fact | None:
    """Swing of a take: where the off-beat lies between two eighths or two sixteenths (.5 straight, .67 triplet).

    Nothing below .55, with fewer than eight off-beats, or where they do not agree. `anchor` is a sample on the beat.
    """
    times = np.array([onset.sample for onset in onsets], np.float64) / SAMPLE_RATE
    found = [_offbeat(times - anchor / SAMPLE_RATE, 60 / bpm / division) for division in (1, 2)]
    ratio, confidence = max((ratio for ratio in found if ratio), default=(0.0, 0.0))
    return fact(round(ratio, 2), "measurement", confidence) if ratio >= SWUNG_FROM else None


def _offbeat(times: np.ndarray, unit: float) -> tuple[float, float] | None:
    position = times / unit
    on = position - np.round(position)
    on = on[np.abs(on) < 0.12]
    if not len(on):
        return None
    position = (position - np.median(on)) % 1
    off = position[(position > 0.42) & (position < 0.72)]
    if len(off) < FEWEST_OFFBEATS or len(off) < 0.1 * len(times):
        return None
    ratio = float(np.median(off))
    agreeing = float(np.mean(np.abs(off - ratio) < 0.05))
    return (ratio, agreeing) if agreeing >= 0.6 else None


def _kind(strong: list[Onset], seconds: float, slicing: Slicing) -> str:
    """What was cut into bars loops; so does a short recording that begins with its first hit."""
    if slicing is Slicing.onsets or len(strong) < 2:
        return "one-shot"
    if slicing in (Slicing.phrases, Slicing.fixed):
        return "phrase"
    if slicing is not Slicing.whole:
        return "loop"
    if seconds > LONGEST_LOOP_SECONDS:
        return "take"
    return "loop" if strong[0].sample < LOOP_STARTS_SECONDS * SAMPLE_RATE else "phrase"


def density(hits_per_second: float) -> dict[str, Fact]:
    """`sparse`, `dense`, or neither."""
    facts = {"hits_per_second": fact(round(hits_per_second, 2), "measurement", 0.9)}
    if hits_per_second < SPARSE_BELOW:
        facts["density"] = fact("sparse", "measurement", 0.8)
    elif hits_per_second >= DENSE_FROM:
        facts["density"] = fact("dense", "measurement", 0.8)
    return facts


def brightness(piece: np.ndarray) -> dict[str, Fact]:
    """Centroid of the magnitude spectrum, averaged over time: loud parts count for more."""
    window = 2048
    padded = np.pad(piece, ((0, 0), (0, max(0, window - piece.shape[1]))))
    magnitude = np.zeros(window // 2 + 1)
    taper = np.hanning(window).astype(np.float32)
    for channel in padded:
        frames = np.lib.stride_tricks.sliding_window_view(channel, window)[:: window // 2]
        magnitude += np.abs(np.fft.rfft(frames * taper, axis=1)).mean(axis=0)
    frequency = np.fft.rfftfreq(window, 1 / SAMPLE_RATE)
    centroid = float((magnitude * frequency).sum() / max(float(magnitude.sum()), 1e-12))
    facts = {"centroid_hz": fact(round(centroid), "measurement", 1.0)}
    if centroid < DARK_BELOW_HZ:
        facts["brightness"] = fact("dark", "measurement", 0.8)
    elif centroid >= BRIGHT_FROM_HZ:
        facts["brightness"] = fact("bright", "measurement", 0.8)
    return facts


def _loudness(piece: np.ndarray) -> dict[str, Fact]:
    """Integrated loudness; pyloudnorm needs 400 ms, and gives minus infinity where all is below its gate."""
    import pyloudnorm

    if piece.shape[1] < SHORTEST_LOUDNESS_SECONDS * SAMPLE_RATE:
        return {}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        loudness = float(pyloudnorm.Meter(SAMPLE_RATE).integrated_loudness(piece.T.astype(np.float64)))
    return {"loudness_lufs": fact(round(loudness, 1), "measurement", 1.0)} if np.isfinite(loudness) else {}


def noise_floor(piece: np.ndarray) -> dict[str, Fact]:
    """Level of the quietest 5 % of a slice of a second or more, in dBFS: of its noise, where there are pauses."""
    if piece.shape[1] < SHORTEST_NOISE_SECONDS * SAMPLE_RATE:
        return {}
    quiet = float(np.percentile(level_envelope(piece), 5))
    return {"noise_floor_dbfs": fact(round(quiet, 1), "measurement", 0.8)}


def dynamics(piece: np.ndarray, onsets: list[Onset]) -> dict[str, Fact]:
    """Spread (standard deviation) of the peak levels of the hits."""
    if len(onsets) < FEWEST_HITS_FOR_DYNAMICS:
        return {}
    reach = round(0.04 * SAMPLE_RATE)
    peaks = [np.abs(piece[:, onset.sample : onset.sample + reach]).max(initial=1e-6) for onset in onsets]
    spread = float(np.std(20 * np.log10(peaks)))
    facts = {"hit_level_spread_db": fact(round(spread, 1), "measurement", 0.9)}
    if spread < EVEN_BELOW_DB:
        facts["dynamics"] = fact("even", "measurement", 0.7)
    elif spread >= DYNAMIC_FROM_DB:
        facts["dynamics"] = fact("dynamic", "measurement", 0.7)
    return facts


def width(piece: np.ndarray) -> dict[str, Fact]:
    """Energy of the side beside that of the middle, in dB."""
    middle = float(np.mean((piece[0] + piece[1]) ** 2)) + 1e-12
    side = float(np.mean((piece[0] - piece[1]) ** 2)) + 1e-15
    ratio = 10 * np.log10(side / middle)
    facts = {"side_to_middle_db": fact(round(max(ratio, -90.0), 1), "measurement", 1.0)}
    if ratio < MONO_BELOW_DB:
        facts["width"] = fact("mono", "measurement", 1.0)
    elif ratio < NARROW_BELOW_DB:
        facts["width"] = fact("narrow", "measurement", 0.7)
    elif ratio >= WIDE_FROM_DB:
        facts["width"] = fact("wide", "measurement", 0.7)
    return facts
