"""A drummer in code: takes with known hits, for tests that need no recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 44_100
KICK, SNARE, HAT = "K", "S", "H"
BACKBEAT = {KICK: "K.....K.K.......", SNARE: "....S.......S..S", HAT: "H.H.H.H.H.H.H.H."}
TAKES = ("backbeat_94", "jungle_168", "seven_eight_126", "shuffle_swing_112", "tabla_teental_82")
"""The real takes with truth, where they are at hand."""
SEVEN_EIGHT = {KICK: "K.....K.......", SNARE: "....S.....S...", HAT: "H.H.H.H.H.H.H."}


@dataclass(frozen=True)
class Take:
    """`samples` float32 (2, samples) at 44.1 kHz and the truth: where hits start, in seconds."""

    samples: np.ndarray
    hits: np.ndarray
    first_beat: float


def play(
    bpm: float = 100.0,
    bars: int = 8,
    pattern: dict[str, str] = BACKBEAT,
    quarter_notes: float = 4.0,
    swing: float = 0.5,
    seed: int = 0,
    lead_in: float = 0.6,
    jitter: float = 0.003,
) -> Take:
    """A take: a step is a sixteenth; `swing` moves every second one; the room is a little noise."""
    rng = np.random.default_rng(seed)
    kit = {name: _drum(name, rng) for name in pattern}
    bar = quarter_notes * 60 / bpm
    samples = np.zeros((2, round((lead_in + bars * bar + 0.5) * SAMPLE_RATE)))
    hits = []
    for number in range(bars):
        for name, steps in pattern.items():
            for step in (index for index, mark in enumerate(steps) if mark != "."):
                place = step / 4 if step % 2 == 0 else (step - 1) / 4 + swing / 2
                time = max(0.0, lead_in + number * bar + place * 60 / bpm + rng.normal(0, jitter))
                start = round(time * SAMPLE_RATE)
                sound = kit[name][: samples.shape[1] - start] * rng.uniform(0.7, 1.0)
                samples[:, start : start + len(sound)] += sound
                hits.append(time)
    samples += 2e-4 * rng.standard_normal(samples.shape)
    samples *= 0.7 / np.abs(samples).max()
    return Take(samples.astype(np.float32), np.array(sorted(hits)), lead_in)


def write(path: Path, samples: np.ndarray, sample_rate: int = SAMPLE_RATE, subtype: str = "PCM_16") -> Path:
    """Samples (channels, samples) as the format that the name says, or WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = {".flac": "FLAC", ".ogg": "OGG", ".mp3": "MP3", ".aiff": "AIFF"}.get(path.suffix, "WAV")
    subtype = {"OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}.get(kind, subtype)
    if subtype == "PCM_16":  # rounded here, for libsndfile rounds differently for each format
        samples = np.round(samples * 32_767).astype(np.int16)
    soundfile.write(path, samples.T, sample_rate, format=kind, subtype=subtype)
    return path


def hits_only(hits: np.ndarray, apart: float = 0.03) -> np.ndarray:
    """The hits, those played together counted once."""
    kept = [hits[0]]
    for hit in hits[1:]:
        if hit - kept[-1] > apart:
            kept.append(hit)
    return np.array(kept)


def _drum(name: str, rng: np.random.Generator) -> np.ndarray:
    """Mono: a falling sine, a noise with a tone, a high noise; all die away within half a second."""
    length = {KICK: 0.4, SNARE: 0.25, HAT: 0.09}[name]
    time = np.arange(round(length * SAMPLE_RATE)) / SAMPLE_RATE
    noise = rng.standard_normal(len(time))
    if name == KICK:
        pitch = 50 * (1 + 3 * np.exp(-time / 0.02))
        sound = np.sin(2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE) * np.exp(-time / 0.12)
        sound += 0.2 * noise * np.exp(-time / 0.003)
    elif name == SNARE:
        sound = 0.6 * (np.sin(2 * np.pi * 190 * time) * np.exp(-time / 0.05) + noise * np.exp(-time / 0.06))
    else:
        sound = 0.15 * np.diff(noise, prepend=0.0) * np.exp(-time / 0.025)
    sound[-400:] *= np.linspace(1, 0, 400)
    return sound
