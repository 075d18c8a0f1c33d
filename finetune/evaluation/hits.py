"""What a single hit is: kick, snare, hat, tom or cymbal, by descriptors measured on real one-shots.

A hit is described by levels and times that a drummer would name (how low, how bright, how noisy, how long it
rings), and judged by linear discriminants fitted on CC0 recordings by `measure_hits`; `hits.json` holds the numbers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import librosa
import numpy as np

RATE = 44_100
HIT_SECONDS = 1.2
WINDOW, HOP = 1024, 128
EDGES_HZ = (0, 120, 250, 500, 1_000, 2_500, 6_000, 20_000)
LOW_HZ, HIGH_HZ = 400, 4_000
ATTACK_SECONDS, BODY_SECONDS = 0.04, 0.15
"""The attack is up to the first, the body from there to the second, the tail what comes later."""
SHARE_FLOOR_DB = -25.0
FLATNESS_FLOOR = 1e-4
"""Power below these shares is not looked at: it is more often the recording than the drum."""

STARTS_DB = -30.0


def describe(sound: np.ndarray) -> np.ndarray:
    """The descriptors of a hit, (channels, samples) at 44.1 kHz, in the order of `descriptor_names`.

    Independent of level and of silence before the hit; what comes later than HIT_SECONDS after it is not looked at.
    """
    hit = _from_the_hit(sound)
    power = _power(hit)
    hertz = np.fft.rfftfreq(WINDOW, 1 / RATE)
    attack, body = round(ATTACK_SECONDS * RATE / HOP), round(BODY_SECONDS * RATE / HOP)
    parts = power[:, :attack].mean(1), power[:, attack:body].mean(1), power[:, body:].mean(1)
    spectra = parts[0], parts[1]
    values = [share for part in spectra for share in _shares_db(part, hertz)]
    values += [_centroid_octaves(part, hertz) for part in spectra]
    values += [_flatness_db(part, hertz) for part in spectra]
    levels = [10 * np.log10(part.sum() + 1e-12) for part in parts]
    values += [max(levels[1] - levels[0], -60.0), max(levels[2] - levels[0], -60.0)]
    for low, high in ((0, RATE / 2), (0, LOW_HZ), (HIGH_HZ, RATE / 2)):
        envelope = power[(hertz >= low) & (hertz < high)].sum(0)
        values += [_log_decay(envelope, fall) for fall in (10, 20)]
    values += _pitch(hit)
    return np.array(values)


def descriptor_names() -> list[str]:
    """Names of the descriptors, with units."""
    bands = [f"{low}-{high} Hz" for low, high in pairwise(EDGES_HZ)]
    when = ("attack", "body")
    return [
        *(f"{part} share of {band}, dB" for part in when for band in bands),
        *(f"{part} centroid, octaves above 1 kHz" for part in when),
        *(f"{part} flatness, dB" for part in when),
        "body beside attack, dB",
        "tail beside attack, dB",
        *(f"decay by {fall} dB, {band}, log2 s" for band in ("all", "low", "high") for fall in (10, 20)),
        "strongest partial, octaves above 1 kHz",
        "share of power within 6 % of the strongest partial, dB",
    ]


@dataclass(frozen=True)
class Judge:
    """Linear discriminants: `weights` (classes, descriptors) and `offsets` (classes,) on standardised descriptors."""

    classes: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray

    def probabilities(self, descriptors: np.ndarray) -> dict[str, float]:
        """How likely each class is, every class as likely as any other beforehand."""
        scores = self.weights @ ((descriptors - self.centre) / self.scale) + self.offsets
        odds = np.exp(scores - scores.max())
        return dict(zip(self.classes, (odds / odds.sum()).tolist(), strict=True))

    def judge(self, descriptors: np.ndarray) -> str:
        """The likeliest class."""
        likely = self.probabilities(descriptors)
        return max(likely, key=lambda name: likely[name])

    def classify(self, sound: np.ndarray) -> str:
        """The likeliest class of a (channels, samples) hit at 44.1 kHz."""
        return self.judge(describe(sound))

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, six digits of each."""
        return {
            "classes": list(self.classes),
            "descriptors": descriptor_names(),
            "centre": _digits(self.centre),
            "scale": _digits(self.scale),
            "weights": [_digits(row) for row in self.weights],
            "offsets": _digits(self.offsets),
        }


def judge_from(numbers: dict[str, Any]) -> Judge:
    """The judge that `as_json` wrote; ValueError where it was measured with other descriptors."""
    if numbers["descriptors"] != descriptor_names():
        raise ValueError("hits.json was measured with other descriptors; run measure_hits again.")
    arrays = {name: np.array(numbers[name]) for name in ("centre", "scale", "weights", "offsets")}
    return Judge(tuple(numbers["classes"]), **arrays)


@lru_cache(maxsize=1)
def shipped_judge() -> Judge:
    """The judge in the package, measured on the recordings that hits.json lists."""
    return judge_from(json.loads((files("finetune.evaluation") / "hits.json").read_text("utf-8"))["judge"])


def _digits(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _from_the_hit(sound: np.ndarray) -> np.ndarray:
    """Mono samples from 5 ms before the hit, HIT_SECONDS long, peak 1.

    The hit starts where the level of 2 ms first comes within 30 dB of the loudest.
    """
    before = round(0.005 * RATE)
    mono = np.pad(np.asarray(sound, np.float64).mean(axis=0), (before, 0))
    step = round(0.002 * RATE)
    level = np.square(mono[: len(mono) // step * step].reshape(-1, step)).mean(1)
    loud = np.flatnonzero(level >= level.max(initial=0) * 10 ** (STARTS_DB / 10))
    start = max(0, int(loud[0]) * step - before) if len(loud) else 0
    length = round(HIT_SECONDS * RATE)
    hit = np.pad(mono[start : start + length], (0, max(0, length - (len(mono) - start))))
    return hit / max(float(np.abs(hit).max()), 1e-9)


def _power(hit: np.ndarray) -> np.ndarray:
    """(bins, frames) power spectrum."""
    return np.square(np.abs(librosa.stft(hit, n_fft=WINDOW, hop_length=HOP)))


def _shares_db(spectrum: np.ndarray, hertz: np.ndarray) -> list[float]:
    """Each band's share of the power, in dB, at least SHARE_FLOOR_DB."""
    total = spectrum.sum() + 1e-12
    bands = pairwise(EDGES_HZ)
    shares = [spectrum[(hertz >= low) & (hertz < high)].sum() / total for low, high in bands]
    return [float(10 * np.log10(share + 10 ** (SHARE_FLOOR_DB / 10))) for share in shares]


def _centroid_octaves(spectrum: np.ndarray, hertz: np.ndarray) -> float:
    """Mean of the frequencies on a logarithmic scale, weighted by power."""
    octaves = np.log2(np.maximum(hertz, 30) / 1000)
    return float((spectrum * octaves).sum() / (spectrum.sum() + 1e-12))


def _flatness_db(spectrum: np.ndarray, hertz: np.ndarray) -> float:
    """Geometric over arithmetic mean between 100 Hz and 12 kHz: 0 dB is white noise, far below a tone."""
    inside = spectrum[(hertz >= 100) & (hertz <= 12_000)] + FLATNESS_FLOOR * spectrum.max() + 1e-15
    return float(10 * (np.log10(inside).mean() - np.log10(inside.mean())))


def _log_decay(envelope: np.ndarray, fall_db: float) -> float:
    """log2 of the seconds from the loudest frame until the level stays `fall_db` below it."""
    level = 10 * np.log10(envelope + 1e-12)
    peak = int(np.argmax(level))
    above = np.flatnonzero(level >= level[peak] - fall_db)
    return float(np.log2((above[-1] - peak + 1) * HOP / RATE))


def _pitch(hit: np.ndarray) -> list[float]:
    """The strongest partial of the first 190 ms between 35 Hz and 10 kHz, and the share of power within 6 % of it."""
    spectrum = np.square(np.abs(np.fft.rfft(hit[:8192] * np.hanning(8192), 1 << 15)))
    hertz = np.fft.rfftfreq(1 << 15, 1 / RATE)
    spectrum[(hertz < 35) | (hertz > 10_000)] = 0
    strongest = float(hertz[int(np.argmax(spectrum))])
    near = spectrum[np.abs(hertz / max(strongest, 1.0) - 1) <= 0.06].sum() / (spectrum.sum() + 1e-12)
    return [float(np.log2(max(strongest, 35.0) / 1000)), float(10 * np.log10(near + 1e-3))]
