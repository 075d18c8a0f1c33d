"""What a hit sounds like, in numbers: how low, how bright, how noisy, how tuned, how long it rings.

Two sets: of a hit that stands alone, all the way it rings; and of hits in music, where others sound before and after
it. Both are of one channel, and do not depend on its level.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from data_prep.sound.blocks import window
from data_prep.sound.recording import SAMPLE_RATE

FEATURES_VERSION = 2
"""Raised with every change here: weights of another version are refused."""
WINDOW, HOP = 1024, 256
HIT = round(1.25 * SAMPLE_RATE)
BANDS_HZ = np.array(
    [30, 60, 90, 130, 180, 250, 350, 500, 700, 1000, 1400, 2000, 2800, 4000, 5600, 8000, 11_000, 16_000.0]
)
SLICES_SECONDS = (0.0, 0.012, 0.03, 0.06, 0.12, 0.25, 0.5, 1.2)
PARTS_SECONDS = ((0.0, 0.03), (0.03, 0.15), (0.15, 0.6))
GROUPS = ((0, 16), (0, 4), (4, 8), (8, 11), (11, 16))
"""Bands that are looked at together: all, and from low to high."""
NOISE_HZ = ((100, 1000), (1000, 5000), (4000, 14_000))
PITCH_WINDOW = 4096
PITCH_AT = (0, 2048, 6144)
PARTIALS_AT = ((512, 8192), (8192, 16_384))
PARTIALS_HZ = ((50, 300), (300, 1200), (1200, 4000), (4000, 9000), (9000, 16_000))
GLIDE_AT = (0.0, 0.015, 0.035, 0.07, 0.12, 0.2)
FLOOR_DB = 30.0
STARTS_DB = -30.0
TREBLE_HZ = 4000

IN_MUSIC_FRAMES = (1, 3, 6, 15)
"""Frames of each of the slices of a hit in music: to 23, 41, 75 and 162 ms after it."""
BEFORE_FRAMES = 3
IN_MUSIC = 16 * (len(IN_MUSIC_FRAMES) + 1) + 2
"""How many numbers describe a hit in music."""

_HZ = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
_TAPER = np.hanning(WINDOW).astype(np.float32)
_PITCH_HZ = np.fft.rfftfreq(PITCH_WINDOW, 1 / SAMPLE_RATE)


def _triangles() -> np.ndarray:
    """(bins, bands): bands that overlap by half on a logarithmic scale."""
    centre, octave = np.log2(BANDS_HZ), np.log2(np.maximum(_HZ, 1))[:, None]
    rise = (octave - centre[:-2]) / (centre[1:-1] - centre[:-2])
    fall = (centre[2:] - octave) / (centre[2:] - centre[1:-1])
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


_BANDS = _triangles()


def one_channel(samples: np.ndarray) -> np.ndarray:
    """The middle of (2, samples); the first channel where the middle is silent, for a side can be out of phase."""
    middle = samples.mean(axis=0)
    return middle if np.abs(middle).max(initial=0) > 0.1 * np.abs(samples).max(initial=0) else samples[0]


def start_of_hit(samples: np.ndarray) -> int:
    """1 ms before the level of 2 ms first comes within 30 dB of the loudest."""
    step = round(0.002 * SAMPLE_RATE)
    count = samples.shape[1] // step
    if not count:
        return 0
    power = (
        np.square(samples[:, : count * step], dtype=np.float64).mean(axis=0).reshape(count, step).mean(axis=1)
    )
    loud = np.flatnonzero(power >= power.max() * 10 ** (STARTS_DB / 10))
    return max(0, int(loud[0]) * step - step // 2) if len(loud) else 0


def features_alone(samples: np.ndarray, start: int) -> np.ndarray:
    """float64 (features,) of the hit that begins at `start` of (2, samples), and has it for itself."""
    sound = one_channel(samples[:, start : start + HIT])
    sound = np.pad(sound, (WINDOW // 2, HIT - len(sound) + WINDOW // 2)).astype(np.float32)
    sound = sound / max(float(np.abs(sound).max()), 1e-9)
    frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * _TAPER, axis=1)) ** 2
    seconds = np.arange(len(power)) * HOP / SAMPLE_RATE
    bands = power @ _BANDS
    slices = np.array([_between(bands, seconds, *edges) for edges in pairwise(SLICES_SECONDS)])
    values = [
        _shares_db(bands[seconds < 0.25].sum(axis=0)),
        _shares_db(bands[seconds < 0.03].sum(axis=0)),
        *(_course_db(slices[:, low:high].sum(axis=1)) for low, high in GROUPS),
        *(_decays(bands[:, low:high].sum(axis=1)) for low, high in GROUPS),
        *(_colour(_between(power, seconds, *part)) for part in PARTS_SECONDS),
        _pitches(sound[WINDOW // 2 :]),
        _patch(slices),
        _partials(sound[WINDOW // 2 :]),
        _glide(sound[WINDOW // 2 :]),
        _envelope(sound[WINDOW // 2 :]),
    ]
    return np.concatenate(values)


def treble_share(features: np.ndarray) -> np.ndarray:
    """(items,) share of the power from 4 kHz up in the first quarter of a second, of hits alone (items, features)."""
    first = int(np.flatnonzero(BANDS_HZ[1:-1] >= TREBLE_HZ)[0])
    shares = 10 ** (features[:, : len(BANDS_HZ) - 2] / 10) - 10 ** (-FLOOR_DB / 10)
    return shares[:, first:].sum(axis=1)


def features_in_music(samples: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """float64 (hits, IN_MUSIC) of the hits that begin at `starts`, in order, of (2, samples).

    What rings on from before is taken off, and what follows the next hit is not looked at.
    """
    if not len(starts):
        return np.zeros((0, IN_MUSIC))
    gaps = np.diff(np.append(starts, samples.shape[1]))
    reach = HOP * (sum(IN_MUSIC_FRAMES) - 1) + WINDOW
    lead = WINDOW + HOP * (BEFORE_FRAMES - 1)
    cuts = np.stack([one_channel(window(samples, start - lead, start + reach)) for start in starts])
    frames = np.lib.stride_tricks.sliding_window_view(cuts.astype(np.float32), WINDOW, axis=1)[:, ::HOP]
    before = np.arange(BEFORE_FRAMES)
    after = np.arange(sum(IN_MUSIC_FRAMES)) + lead // HOP
    power = np.abs(np.fft.rfft(frames[:, np.concatenate([before, after])] * _TAPER, axis=2)) ** 2 @ _BANDS
    ringing = power[:, :BEFORE_FRAMES].mean(axis=1)
    slices = _struck(power[:, BEFORE_FRAMES:], gaps)
    loudest = slices.sum(axis=2).max(axis=1)[:, None] + 1e-12
    fresh = np.maximum(slices - ringing[:, None], 0)
    top = fresh.sum(axis=2).max(axis=1)[:, None, None] + 1e-3 * loudest[:, :, None]
    return np.concatenate(
        [
            10 * np.log10(fresh / top + 10 ** (-FLOOR_DB / 10)).reshape(len(starts), -1),
            10 * np.log10(ringing / loudest + 10 ** (-FLOOR_DB / 10)),
            np.log2(np.clip(gaps, HOP, reach) / HOP)[:, None],
            np.maximum(10 * np.log10(loudest / loudest.max()), -50),
        ],
        axis=1,
    )


def _struck(power: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """(hits, slices, bands) from frames after the hits; a slice that the next hit has begun in is as the one before."""
    whole = np.arange(power.shape[1]) * HOP + WINDOW <= gaps[:, None]
    whole[:, 0] = True
    slices: list[np.ndarray] = []
    first = 0
    for count in IN_MUSIC_FRAMES:
        part, valid = power[:, first : first + count], whole[:, first : first + count, None]
        mean = (part * valid).sum(axis=1) / np.maximum(valid.sum(axis=1), 1)
        slices.append(np.where(valid.any(axis=1), mean, slices[-1]) if slices else mean)
        first += count
    return np.stack(slices, axis=1)


def _patch(slices: np.ndarray) -> np.ndarray:
    """Level of every band in every slice below the loudest of them."""
    return (10 * np.log10(slices / (slices.max() + 1e-12) + 1e-5)).ravel()


def _partials(sound: np.ndarray) -> np.ndarray:
    """How far single partials stand out, in ranges, early and late, by a window that tells them apart; and how many
    hold most of the power."""
    values = []
    for start, size in PARTIALS_AT:
        spectrum = np.abs(np.fft.rfft(sound[start : start + size] * np.hanning(size))) ** 2
        hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
        whole = spectrum.sum() + 1e-12
        for low, high in PARTIALS_HZ:
            inside = np.sort(spectrum[(hertz >= low) & (hertz < high)])[::-1]
            power = inside.sum() + 1e-9 * whole + 1e-12
            held = np.cumsum(inside) / power
            values += [
                np.log2(1 + np.searchsorted(held, 0.5)) - np.log2(len(inside)),
                np.log2(1 + np.searchsorted(held, 0.9)) - np.log2(len(inside)),
                10 * np.log10(power / whole + 1e-4),
            ]
    return np.array(values)


def _glide(sound: np.ndarray) -> np.ndarray:
    """How the lowest tone moves: pitch in octaves above 100 Hz at six moments, and level there, below 600 Hz."""
    values = []
    for at in GLIDE_AT:
        first, size = round(at * SAMPLE_RATE), 2048
        part = sound[first : first + size] * np.hanning(size)
        spectrum = np.abs(np.fft.rfft(part, 4 * size)) ** 2
        hertz = np.fft.rfftfreq(4 * size, 1 / SAMPLE_RATE)
        inside = (hertz >= 30) & (hertz < 600)
        low = spectrum * inside
        power = low.sum() + 1e-12
        values += [
            np.log2(max(hertz[int(np.argmax(low))], 30) / 100),
            np.log2((low * hertz).sum() / power / 100 + 0.1),
            10 * np.log10(power / (spectrum.sum() + 1e-12) + 1e-4),
        ]
    pitches = np.array(values[0::3])
    return np.array([*values, *np.diff(pitches)])


def _envelope(sound: np.ndarray) -> np.ndarray:
    """Rise, centre and spread of the power over time, whole and from 4 kHz up, and how often it swells again."""
    values = []
    for part in (sound, np.diff(sound, n=2, prepend=np.zeros(2, sound.dtype))):
        power = np.square(part[: len(part) // 64 * 64], dtype=np.float64).reshape(-1, 64).mean(axis=1)
        seconds = (np.arange(len(power)) + 0.5) * 64 / SAMPLE_RATE
        total = power.sum() + 1e-12
        centre = (power * seconds).sum() / total
        held = np.cumsum(power) / total
        reach = [
            np.log2(seconds[min(int(np.searchsorted(held, share)), len(seconds) - 1)])
            for share in (0.1, 0.5, 0.9)
        ]
        peak = int(np.argmax(power))
        smooth = np.convolve(power[:700], np.hanning(9) / 4, "same")
        level = 10 * np.log10(smooth + 1e-6 * smooth.max() + 1e-12)
        swells = np.maximum(np.diff(level), 0)
        values += [
            np.log2(centre + 1e-4),
            *reach,
            np.log2(seconds[peak]),
            np.log2(1 + swells[:70].sum()),
            np.log2(1 + swells[70:350].sum()),
            10 * np.log10((power.max() + 1e-12) / (power[:350].mean() + 1e-12)),
        ]
    return np.array(values)


def _between(frames: np.ndarray, seconds: np.ndarray, start: float, end: float) -> np.ndarray:
    return frames[(seconds >= start) & (seconds < end)].mean(axis=0)


def _shares_db(bands: np.ndarray) -> np.ndarray:
    return 10 * np.log10(bands / (bands.sum() + 1e-12) + 10 ** (-FLOOR_DB / 10))


def _course_db(levels: np.ndarray) -> np.ndarray:
    return 10 * np.log10(levels / (levels.max() + 1e-12) + 1e-4)


def _decays(levels: np.ndarray) -> np.ndarray:
    """log2 of the seconds from the loudest frame until the level stays 10, 20 and 30 dB below it."""
    decibels = 10 * np.log10(levels + 1e-12)
    peak = int(np.argmax(decibels))
    lasts = [int(np.flatnonzero(decibels >= decibels[peak] - fall)[-1]) for fall in (10, 20, 30)]
    return np.log2((np.array(lasts) - peak + 1) * HOP / SAMPLE_RATE)


def _colour(spectrum: np.ndarray) -> np.ndarray:
    """Flatness in three ranges (0 dB is noise, far below it a tone), and the centroid in octaves above 1 kHz."""
    values = []
    for low, high in NOISE_HZ:
        inside = spectrum[(low < _HZ) & (high > _HZ)]
        inside = inside + 1e-3 * inside.max() + 1e-12
        values.append(10 * (np.log10(inside).mean() - np.log10(inside.mean())))
    octaves = np.log2(np.maximum(_HZ, 30) / 1000)
    return np.array([*values, float((spectrum * octaves).sum() / (spectrum.sum() + 1e-12))])


def _pitches(sound: np.ndarray) -> np.ndarray:
    """The strongest partial at three moments, in octaves above 1 kHz, how much of the power is near it, and how far
    it falls."""
    octaves, values = [], []
    for at in PITCH_AT:
        spectrum = np.abs(np.fft.rfft(sound[at : at + PITCH_WINDOW] * np.hanning(PITCH_WINDOW))) ** 2
        spectrum[(_PITCH_HZ < 30) | (_PITCH_HZ > 8000)] = 0
        strongest = max(float(_PITCH_HZ[int(np.argmax(spectrum))]), 30.0)
        near = spectrum[np.abs(_PITCH_HZ / strongest - 1) < 0.08].sum() / (spectrum.sum() + 1e-12)
        octaves.append(np.log2(strongest / 1000))
        values += [octaves[-1], 10 * np.log10(near + 1e-2)]
    return np.array([*values, octaves[0] - octaves[1], octaves[1] - octaves[2]])
