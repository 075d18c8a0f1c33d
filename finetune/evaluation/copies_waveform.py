"""Verbatim copies: cross-correlation of the waveforms at 8 kHz, over all offsets.

Gain and polarity are no matter to it; noise, low-pass and compression little; another speed or pitch, and another
performance, all. A first look at half the rate, of all windows in all clips, is followed by a close one at the offset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import soxr
from scipy.fft import irfft, rfft
from scipy.signal import butter, sosfilt

from finetune.evaluation.copies_segments import (
    EDGE_SECONDS,
    STEP_SECONDS,
    WINDOW_SECONDS,
    Candidate,
    Match,
    agreed_on,
    best_of,
    extent,
    likeliest,
    running_correlation,
    window_starts,
)

RATE = 8000
ROUGH_RATE = 4000
BLOCK = 32_768
"""Samples at the rough rate that are looked through at once: 8 s."""
BATCH = 32
WINDOW_STEP = RATE // 40
LONG_SECONDS, LONG_FROM_SECONDS = 4.0, 3.0
"""Where they go together for longer, that counts beside the likeliest two seconds: a base that has learned a clip by
heart plays it less exactly, but from end to end."""
AROUND_SECONDS = 0.004
CRISP, CRISP_FROM_SECONDS = butter(1, 1000.0, "highpass", fs=RATE, output="sos"), 1.0
"""What is crisp must agree too: a machine that plays a groove anew differs by parts of a millisecond."""
FRACTIONS = 8
"""Close offsets are tried to an eighth of a sample: half a sample is much to a cymbal."""
CANCELS_BELOW = 0.01
SOFT_BELOW_HZ = 200.0
"""A kick's tone is so low that two performances of it agree when they are milliseconds apart."""
THREADS = 2


def at_8_khz(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """(channels, samples) → (samples,) float32 at 8 kHz: the mean of the channels, or the louder one where they
    cancel each other; softer by 6 dB an octave below 200 Hz."""
    middle = sound.mean(axis=0, dtype=np.float64)
    powers = np.square(sound, dtype=np.float64).mean(axis=1)
    if np.square(middle).mean() < CANCELS_BELOW * powers.max():
        middle = sound[int(np.argmax(powers))]
    at_rate = soxr.resample(np.asarray(middle, np.float32), sample_rate, RATE, quality="VHQ")
    return np.asarray(
        sosfilt(butter(1, SOFT_BELOW_HZ, "highpass", fs=RATE, output="sos"), at_rate), np.float32
    )


def nearest_by_waveform(
    sounds: Sequence[np.ndarray], clips: Sequence[np.ndarray], report: Callable[[int], None]
) -> list[list[Match]]:
    """For each sound the clips it is most alike to, likeliest first, CANDIDATES or fewer; both (samples,) at 8 kHz.

    `report` hears how many clips were looked through.
    """
    rough_sounds, rough_clips = ([_rough(each) for each in of] for of in (sounds, clips))
    found: list[list[Candidate]] = [[] for _ in sounds]
    agreed: list[list[Candidate]] = [[] for _ in sounds]
    places = [
        (sound, start)
        for sound, each in enumerate(rough_sounds)
        for start in window_starts(len(each), _size(each), round(STEP_SECONDS * ROUGH_RATE))
    ]
    windows = Windows.of(
        [rough_sounds[sound][start:][: _size(rough_sounds[sound])] for sound, start in places]
    )
    for clip, whole in enumerate(rough_clips):
        for sound, candidates in _places_in(clip, whole, rough_sounds, places, windows).items():
            found[sound].append(max(candidates, key=lambda each: each.likeness))
            agreed[sound].append(agreed_on(candidates))
        report(clip + 1)
    chosen = [
        {(each.clip, each.lag): each for each in best_of(some) + best_of(others)}
        for some, others in zip(found, agreed, strict=True)
    ]
    return [
        likeliest(match for each in some.values() for match in _align(sound, clips[each.clip], each))
        for sound, some in zip(sounds, chosen, strict=True)
    ]


def _places_in(
    clip: int,
    whole: np.ndarray,
    sounds: Sequence[np.ndarray],
    places: Sequence[tuple[int, int]],
    windows: Windows,
) -> dict[int, list[Candidate]]:
    """By sound, where its windows are likeliest in the clip; a clip that is shorter is looked for in the sound."""
    found: dict[int, list[Candidate]] = {}
    alone = Windows.of([whole]) if len(whole) < round(WINDOW_SECONDS * ROUGH_RATE) else None
    for sound, each in enumerate(sounds):
        if alone and len(whole) < _size(each):
            ((like, at),) = alone.look(each)
            found[sound] = [Candidate(clip, like, 1.0, -at / ROUGH_RATE, max(0, at) / ROUGH_RATE)]
    for (sound, start), (like, offset) in zip(places, windows.look(whole), strict=True):
        if _size(sounds[sound]) <= len(whole):
            candidate = Candidate(clip, like, 1.0, (offset - start) / ROUGH_RATE, start / ROUGH_RATE)
            found.setdefault(sound, []).append(candidate)
    return found


def _rough(sound: np.ndarray) -> np.ndarray:
    """At 4 kHz, and soft above 1 kHz, where an offset of half a sample would count."""
    return np.convolve(soxr.resample(sound, RATE, ROUGH_RATE), [0.25, 0.5, 0.25], "same").astype(np.float32)


def _size(rough: np.ndarray) -> int:
    return min(len(rough), round(WINDOW_SECONDS * ROUGH_RATE))


@dataclass(frozen=True)
class Windows:
    """Windows that are looked for: their samples, norms, and spectra (windows, BLOCK / 2 + 1)."""

    sizes: np.ndarray
    norms: np.ndarray
    spectra: np.ndarray

    @classmethod
    def of(cls, windows: Sequence[np.ndarray]) -> Windows:
        spectra = np.zeros((len(windows), BLOCK // 2 + 1), np.complex64)
        for row, window in enumerate(windows):
            spectra[row] = np.conj(rfft(window, BLOCK))
        norms = [max(float(np.linalg.norm(window)), 1e-6) for window in windows]
        return cls(np.array([len(window) for window in windows]), np.array(norms), spectra)

    def look(self, whole: np.ndarray) -> list[tuple[float, int]]:
        """The highest absolute correlation of each with a stretch of `whole`, and where that begins; 0 where `whole`
        is shorter than the window."""
        edge = round(EDGE_SECONDS * ROUGH_RATE)
        padded = np.pad(whole, edge)
        best = [(0.0, 0)] * len(self.sizes)
        fitting = np.flatnonzero(self.sizes <= len(whole))
        if not len(fitting):
            return best
        hop = BLOCK - int(self.sizes[fitting].max())
        for begin in range(0, max(1, len(padded) - BLOCK + hop), hop):
            block = padded[begin : begin + BLOCK]
            scales = {int(size): _scale(block, int(size)) for size in np.unique(self.sizes[fitting])}
            spectrum = rfft(block, BLOCK)
            for first in range(0, len(fitting), BATCH):
                rows = fitting[first : first + BATCH]
                products = irfft(self.spectra[rows] * spectrum, BLOCK, overwrite_x=True, workers=THREADS)
                for row, product in zip(rows, products, strict=True):
                    scale = scales[int(self.sizes[row])]
                    if not len(scale):
                        continue
                    likeness = np.abs(product[: len(scale)] * scale)
                    at = int(np.argmax(likeness))
                    if (value := float(likeness[at] / self.norms[row])) > best[row][0]:
                        best[row] = value, begin + at - edge
        return best


def _scale(block: np.ndarray, size: int) -> np.ndarray:
    """One over the norm of every stretch of `size` of a block; 0 where it is silent."""
    power = np.concatenate([[0.0], np.cumsum(np.square(block, dtype=np.float64))])
    if size > len(block):
        return np.zeros(0, np.float32)
    stretch = power[size:] - power[:-size]
    heard = stretch > max(float(stretch.max()) * 1e-6, 1e-9)
    return (heard / np.sqrt(np.where(heard, stretch, 1.0))).astype(np.float32)


def _align(sound: np.ndarray, clip: np.ndarray, candidate: Candidate) -> list[Match]:
    """The candidate to a part of a sample, and how far sound and clip go together: over two seconds, and over four."""
    size = min(round(WINDOW_SECONDS * RATE), len(sound), len(clip))
    lag = _exact_lag(sound, clip, candidate, size)
    whole, part = int(np.floor(lag)), lag - np.floor(lag)
    first, last = max(0, -whole), min(len(sound), len(clip) - whole)
    if last - first < size // 2:
        return []
    aligned = np.stack([_delayed(sound, part)[first:last], clip[first + whole : last + whole]])
    bands = [aligned, np.asarray(sosfilt(CRISP, aligned))]
    sizes = [size] + [round(LONG_SECONDS * RATE)] * (last - first >= LONG_FROM_SECONDS * RATE)
    return [_match(candidate.clip, bands, first, lag, each) for each in sizes]


def _match(clip: int, bands: Sequence[np.ndarray], first: int, lag: float, size: int) -> Match:
    """Of aligned waveforms (2, samples), of which the sound's begins at `first`. Short strokes are judged whole."""
    size = min(size, bands[0].shape[1])
    starts, likeness = _likeness(bands if size >= CRISP_FROM_SECONDS * RATE else bands[:1], size)
    best, begin, end = extent(likeness)
    at, length = first + int(starts[begin]), int(starts[end]) - int(starts[begin]) + size
    like = float(min(1.0, likeness[best]))
    return Match(clip, like, size / RATE, 1.0, at / RATE, (at + lag) / RATE, length / RATE)


def _likeness(bands: Sequence[np.ndarray], size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where windows begin, and by how much they are alike in that band in which they are less."""
    each = [running_correlation(a[:, None], b[:, None], size, WINDOW_STEP, centred=False) for a, b in bands]
    return each[0][0], np.min([np.abs(likeness) for _, likeness in each], axis=0)


def _exact_lag(sound: np.ndarray, clip: np.ndarray, candidate: Candidate, size: int) -> float:
    """The lag of the candidate in samples, near the rough one, to a part of a sample."""
    start = max(0, min(round(candidate.at * RATE), len(sound) - size))
    window = sound[start : start + size]
    around = round(AROUND_SECONDS * RATE)
    begin = start + round(candidate.lag * RATE) - around
    there = _cut(clip, begin, begin + size + 2 * around)
    length = 1 << (len(there) + size).bit_length()
    cross = rfft(there, length) * np.conj(rfft(window, length))
    fine = np.abs(irfft(cross, length * FRACTIONS)[: 2 * around * FRACTIONS + 1])
    return begin - start + int(np.argmax(fine)) / FRACTIONS


def _cut(sound: np.ndarray, start: int, end: int) -> np.ndarray:
    """From start to end, with silence where there is no sound."""
    before, after = max(0, min(end, 0) - start), max(0, end - max(len(sound), start))
    return np.pad(sound[max(0, start) : max(0, end)], (before, after))


def _delayed(sound: np.ndarray, by: float) -> np.ndarray:
    """Later by a part of a sample."""
    length = 1 << (len(sound) + 64).bit_length()
    turn = np.exp(-2j * np.pi * by * np.arange(length // 2 + 1) / length)
    return irfft(rfft(sound, length) * turn, length)[: len(sound)]
