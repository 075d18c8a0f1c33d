"""Copies of a clip as they are made by accident and on purpose: quieter, noisier, compressed, cut, sped up, retuned."""

from __future__ import annotations

import io
from collections.abc import Callable

import librosa
import numpy as np
import soundfile as sf
import soxr

from finetune.bench.drummers import SAMPLE_RATE

Plant = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""(clip, other playing, rng) → a sound with a copy of the clip; all (2, samples) at 44.1 kHz."""

PART_SECONDS = 2.5
OTHER_SECONDS = 3.0


def _gain(clip: np.ndarray, db: float) -> np.ndarray:
    return clip * np.float32(10 ** (db / 20))


def _noise(clip: np.ndarray, snr_db: float, rng: np.random.Generator) -> np.ndarray:
    level = np.sqrt(np.square(clip).mean()) * 10 ** (-snr_db / 20)
    return (clip + level * rng.standard_normal(clip.shape)).astype(np.float32)


def _low_pass(clip: np.ndarray, hz: float) -> np.ndarray:
    from scipy.signal import butter, sosfilt

    return np.asarray(sosfilt(butter(4, hz, fs=SAMPLE_RATE, output="sos"), clip, axis=1), np.float32)


def _mp3(clip: np.ndarray) -> np.ndarray:
    """At the strongest compression that libsndfile offers."""
    encoded = io.BytesIO()
    sf.write(encoded, clip.T, SAMPLE_RATE, format="MP3", compression_level=0.99)
    encoded.seek(0)
    return np.ascontiguousarray(sf.read(encoded, dtype="float32", always_2d=True)[0].T)


def _half(clip: np.ndarray) -> np.ndarray:
    return clip[:, clip.shape[1] // 2 :]


def _mono(clip: np.ndarray) -> np.ndarray:
    return np.repeat(clip.mean(axis=0, keepdims=True), 2, axis=0)


def _late(clip: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """After a moment of faint noise, at no whole sample of 8 kHz."""
    rest = 1e-4 * rng.standard_normal((2, int(rng.uniform(0.1, 1.5) * SAMPLE_RATE)))
    return np.concatenate([rest, clip], axis=1).astype(np.float32)


def _part_within(clip: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """2.5 s of it, between other playing as loud."""
    length = min(round(PART_SECONDS * SAMPLE_RATE), clip.shape[1])
    start = int(rng.integers(clip.shape[1] - length + 1))
    around = round(OTHER_SECONDS * SAMPLE_RATE)
    part = clip[:, start : start + length]
    other = other * (_rms(part) / _rms(other))
    return np.concatenate([other[:, :around], part, other[:, -around:]], axis=1).astype(np.float32)


def _under_other(clip: np.ndarray, other: np.ndarray, db: float) -> np.ndarray:
    """With other playing over it, that much quieter."""
    length = min(clip.shape[1], other.shape[1])
    over = other[:, :length] * (_rms(clip) / _rms(other)) * 10 ** (db / 20)
    return (clip[:, :length] + over).astype(np.float32)


def _rms(sound: np.ndarray) -> float:
    return max(float(np.sqrt(np.square(sound).mean())), 1e-6)


def _stretched(clip: np.ndarray, rate: float) -> np.ndarray:
    return np.asarray(librosa.effects.time_stretch(clip, rate=rate), np.float32)


def _pitched(clip: np.ndarray, semitones: float) -> np.ndarray:
    return np.asarray(librosa.effects.pitch_shift(clip, sr=SAMPLE_RATE, n_steps=semitones), np.float32)


def _varispeed(clip: np.ndarray, speed: float) -> np.ndarray:
    """As a tape that runs at another speed: tempo and pitch together."""
    return np.ascontiguousarray(soxr.resample(clip.T, SAMPLE_RATE, SAMPLE_RATE / speed).T)


VERBATIM: dict[str, Plant] = {
    "as it is": lambda clip, other, rng: clip,
    "12 dB quieter": lambda clip, other, rng: _gain(clip, -12),
    "inverted": lambda clip, other, rng: -clip,
    "mono": lambda clip, other, rng: _mono(clip),
    "noise 20 dB below": lambda clip, other, rng: _noise(clip, 20, rng),
    "low-pass at 3 kHz": lambda clip, other, rng: _low_pass(clip, 3000),
    "MP3, strongest": lambda clip, other, rng: _mp3(clip),
    "second half": lambda clip, other, rng: _half(clip),
    "begins later": lambda clip, other, rng: _late(clip, rng),
    "2.5 s between other playing": _part_within,
    "other playing over it, -12 dB": lambda clip, other, rng: _under_other(clip, other, -12),
}
ALTERED: dict[str, Plant] = {
    "2 % faster": lambda clip, other, rng: _stretched(clip, 1.02),
    "5 % faster": lambda clip, other, rng: _stretched(clip, 1.05),
    "10 % faster": lambda clip, other, rng: _stretched(clip, 1.10),
    "5 % slower": lambda clip, other, rng: _stretched(clip, 0.95),
    "10 % slower": lambda clip, other, rng: _stretched(clip, 0.90),
    "1 semitone up": lambda clip, other, rng: _pitched(clip, 1),
    "2 semitones up": lambda clip, other, rng: _pitched(clip, 2),
    "2 semitones down": lambda clip, other, rng: _pitched(clip, -2),
    "tape 3 % faster": lambda clip, other, rng: _varispeed(clip, 1.03),
    "tape 6 % slower": lambda clip, other, rng: _varispeed(clip, 0.94),
    "5 % faster, 1 semitone down": lambda clip, other, rng: _pitched(_stretched(clip, 1.05), -1),
}
