"""Where hits start: superflux onset detection, refined on a fine spectrogram.

Superflux (Böck and Widmer, 2013) with hop 256, window 1024, lag 2, maximum filter 3. Each peak is then moved to
the moment around it at which the spectrum of the next 4 ms stands highest above that of the 8 ms before, seen
through windows of 6 ms every 0.7 ms, and 1 ms on, for those windows see a hit before it is there. That height, in
dB over all bands, is also how sure a hit is to be one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from data_prep.sound.blocks import peak, release, window
from data_prep.sound.recording import SAMPLE_RATE

HOP = 256
WINDOW = 1024
LAG = 2
MAX_FILTER_BANDS = 3
MEL_BANDS = 138
PEAK_ABOVE_MEAN = 0.035
PEAK_SECONDS = 0.03
MEAN_SECONDS = 0.1
RANGE_DB = 70.0
FULL_BAND = 630.0
"""Power in the loudest band where the loudest sample is 1, on drums: the range is counted down from it."""
BLOCK_FRAMES = 8192
"""Spectrogram frames in memory at a time (48 s), whatever the length of the recording."""

LEAD_IN = 16 * HOP
"""Silence put before a recording while looking, so that a hit on its first sample is a rise like any other."""
EDGE = round(0.01 * SAMPLE_RATE)
HIT_AT_EDGE = 0.05
"""A recording that begins with sound begins with a hit where its first 30 ms reach this share of its peak, else
with the noise of the room."""

FINE_HOP = 32
FINE_WINDOW = 256
FINE_BANDS = 24
SEARCH_SECONDS = (0.025, 0.010)
AFTER_FRAMES = 6
BEFORE_FRAMES = 11
EARLIER_SHARE = 0.65
EARLIER_RISE_DB = 6.0
"""Of several rises within the search range the first counts that reaches 6 dB, or this share of the highest: a hit
starts with its first sound."""
SEEN_EARLY = round(0.001 * SAMPLE_RATE)
"""How early that is, the median over ten kits."""
RELEASE_EVERY = 500
"""Hits between two times that a mapped recording is let go of."""
DOUBT_SHARE = 0.3
CLEAR_WITHIN = round(0.008 * SAMPLE_RATE)
SURE_RISE_DB = 3.0
"""Below it a peak of the superflux is more often a fluctuation of a tail than a hit."""


@dataclass(frozen=True, slots=True)
class Onset:
    """A hit: the sample where it starts, its strength beside the strongest of the recording (0 to 1), how far the
    spectrum rises there (dB, the mean of the bands), and whether its start is clear.

    A start is not clear where something sounds more than 8 ms before the steepest rise: the foot before the
    closing hi-hat, a grace note.
    """

    sample: int
    strength: float
    rise_db: float
    clear: bool = True


def detect(samples: np.ndarray) -> tuple[list[Onset], np.ndarray]:
    """All hits of a recording (2, samples) in order, at least 30 ms apart, and its onset envelope.

    The envelope is the superflux, scaled to a maximum of 1, at SAMPLE_RATE / HOP values per second. Memory does not
    grow with the recording, which may be memory-mapped, but by envelope and hits.
    """
    loudest = peak(samples)
    envelope = onset_envelope(samples, loudest)
    on_a_hit = float(np.abs(samples[:, : round(PEAK_SECONDS * SAMPLE_RATE)]).max()) >= HIT_AT_EDGE * loudest
    onsets: list[Onset] = []
    for number, frame in enumerate(_peaks(envelope)):
        if number % RELEASE_EVERY == 0:
            release(samples)
        sample, rise_db, clear = _refine(samples, frame * HOP - LEAD_IN, loudest)
        if rise_db < SURE_RISE_DB or (sample < EDGE and not on_a_hit):
            continue
        strength = float(envelope[frame])
        if onsets and sample - onsets[-1].sample < PEAK_SECONDS * SAMPLE_RATE:
            first = onsets.pop()
            sample, clear = first.sample, first.clear
            strength, rise_db = max(strength, first.strength), max(rise_db, first.rise_db)
        onsets.append(Onset(sample, strength, rise_db, clear))
    return onsets, envelope[LEAD_IN // HOP :]


def onset_envelope(samples: np.ndarray, loudest: float) -> np.ndarray:
    """Superflux of a recording (2, samples) whose largest sample is `loudest`, float32, one value per HOP samples from
    LEAD_IN before its start, maximum 1."""
    from scipy.ndimage import maximum_filter1d

    frames = (samples.shape[1] + LEAD_IN) // HOP + 1
    floor = max(loudest, 1e-6) ** 2 * FULL_BAND * 10 ** (-RANGE_DB / 10)
    flux = np.zeros(frames, np.float32)
    for start in range(0, frames, BLOCK_FRAMES):
        first = max(0, start - LAG)
        power = _band_power(samples, first, min(frames, start + BLOCK_FRAMES))
        level = 10 * np.log10(np.maximum(power, np.float32(floor)))
        before = maximum_filter1d(level, MAX_FILTER_BANDS, axis=1)
        rise = np.maximum(0, level[LAG:] - before[:-LAG]).mean(axis=1)
        flux[first + LAG : first + LAG + len(rise)] = rise
    return flux / max(float(flux.max()), 1e-9)


def _band_power(samples: np.ndarray, first: int, last: int) -> np.ndarray:
    """Mel band power (frames, MEL_BANDS) of frames first to last, the mean of both channels, so that what is out
    of phase between them is not lost. Frame n is centred on sample n * HOP - LEAD_IN."""
    from scipy.fft import rfft

    start = first * HOP - LEAD_IN - WINDOW // 2
    part = window(samples, start, start + (last - first - 1) * HOP + WINDOW)
    power = np.zeros((last - first, WINDOW // 2 + 1), np.float32)
    for channel in part:
        spectrum = rfft(np.lib.stride_tricks.sliding_window_view(channel, WINDOW)[::HOP] * _taper(WINDOW))
        power += spectrum.real**2 + spectrum.imag**2
    release(samples)
    return power @ _mel_filters(WINDOW, MEL_BANDS, 27.5, 16_000.0).T / len(part)


@lru_cache(maxsize=4)
def _taper(length: int) -> np.ndarray:
    return np.hanning(length + 1)[:-1].astype(np.float32)


@lru_cache(maxsize=4)
def _mel_filters(window: int, bands: int, lowest_hz: float, highest_hz: float) -> np.ndarray:
    """(bands, window / 2 + 1); bands narrower than a bin are empty and left out."""
    import warnings

    from librosa.filters import mel

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Empty filters")
        filters = mel(sr=SAMPLE_RATE, n_fft=window, n_mels=bands, fmin=lowest_hz, fmax=highest_hz)
    return filters[filters.sum(axis=1) > 0].astype(np.float32)


def _peaks(envelope: np.ndarray) -> list[int]:
    """Frames that are the maximum within 30 ms and stand above the mean of the 200 ms around them."""
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    frames_per_second = SAMPLE_RATE / HOP
    near, around = round(PEAK_SECONDS * frames_per_second), round(MEAN_SECONDS * frames_per_second)
    is_peak = envelope == maximum_filter1d(envelope, 2 * near + 1)
    stands_out = envelope >= uniform_filter1d(envelope, 2 * around + 1) + PEAK_ABOVE_MEAN
    return [int(frame) for frame in np.flatnonzero(is_peak & stands_out)]


def _refine(samples: np.ndarray, sample: int, loudest: float) -> tuple[int, float, bool]:
    """Where the hit near `sample` starts, how far the spectrum rises there in dB, and whether that is clear."""
    half = FINE_WINDOW // 2
    reach = half + FINE_HOP * (BEFORE_FRAMES + half // FINE_HOP)
    start = sample - round(SEARCH_SECONDS[0] * SAMPLE_RATE) - reach
    stop = sample + round(SEARCH_SECONDS[1] * SAMPLE_RATE) + reach
    power = _fine_power(samples, start, stop)
    sums = np.concatenate([np.zeros((1, power.shape[1])), np.cumsum(power, axis=0, dtype=np.float64)])
    gap = half // FINE_HOP
    centre = np.arange(BEFORE_FRAMES + gap, len(power) - AFTER_FRAMES - gap)
    after = (sums[centre + gap + AFTER_FRAMES] - sums[centre + gap]) / AFTER_FRAMES
    before = (sums[centre - gap + 1] - sums[centre - gap + 1 - BEFORE_FRAMES]) / BEFORE_FRAMES
    floor = 1e-9 * loudest**2
    rise_db = np.maximum(0, 10 * np.log10((after + floor) / (before + floor))).mean(axis=1)
    best = int(np.argmax(rise_db))
    inner = rise_db[1:-1]
    tops = 1 + np.flatnonzero((inner >= rise_db[:-2]) & (inner >= rise_db[2:]))
    first = _first(tops, rise_db, best, min(EARLIER_SHARE * rise_db[best], EARLIER_RISE_DB))
    clear = (first - _first(tops, rise_db, best, DOUBT_SHARE * rise_db[best])) * FINE_HOP <= CLEAR_WITHIN
    place = start + half + FINE_HOP * int(centre[first]) + SEEN_EARLY
    return max(0, place), float(rise_db[best]), clear


def _first(tops: np.ndarray, rise_db: np.ndarray, best: int, least: float) -> int:
    """The first of the rises that reaches `least`, or the highest."""
    high = tops[rise_db[tops] >= least]
    return int(high[0]) if len(high) and high[0] < best else best


def _fine_power(samples: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Band power (frames, bands) of samples start to stop, which may reach beyond the recording."""
    from scipy.fft import rfft

    frames = np.lib.stride_tricks.sliding_window_view(window(samples, start, stop), FINE_WINDOW, axis=1)
    spectrum = rfft(frames[:, ::FINE_HOP] * _taper(FINE_WINDOW))
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=0)
    return power @ _fine_filters().T / (0.375 * FINE_WINDOW**2)


@lru_cache(maxsize=1)
def _fine_filters() -> np.ndarray:
    filters = _mel_filters(FINE_WINDOW, FINE_BANDS, 0.0, 18_000.0)
    return filters / filters.sum(axis=1, keepdims=True)
