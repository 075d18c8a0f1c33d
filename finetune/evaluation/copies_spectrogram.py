"""Copies at another speed or pitch, and the same groove played anew: correlation of log-mel spectrograms.

Each band counts around its own mean, so that the colour of the sound is no matter and its course in time is all. The
windows of a sound are looked for in the clips at many speeds; the likeliest are looked at again, more finely.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import soxr
from scipy.fft import irfft, rfft

from finetune.evaluation.copies_segments import (
    EDGE_SECONDS,
    STEP_SECONDS,
    Candidate,
    Match,
    best_of,
    extent,
    keep_likelier,
    likeliest,
    running_correlation,
    window_starts,
)

LOOKED_FOR_SECONDS = 4.0
"""Longer than for the waveform: two seconds of two performances of a groove are too often alike."""
RATE = 16_000
HOP = 80
FRAME_RATE = RATE / HOP
"""200 frames a second for the close look."""
COARSE = 4
"""Of so many frames the mean, for the first look."""
WINDOW = 512
BANDS = 20
LOWEST_HZ, HIGHEST_HZ = 60.0, 7600.0
RANGE_POWER = 1e-4
SPEEDS = tuple(float(1.02**step) for step in range(-6, 7))
"""0.89 to 1.13, close enough that two seconds go together."""
FINER_SPEEDS = tuple(float(1 + step / 400) for step in range(-4, 5))
FINER_FRAMES = 12
COARSE_RATE = FRAME_RATE / COARSE
LONGEST = round(LOOKED_FOR_SECONDS * SPEEDS[-1] * COARSE_RATE)
BLOCK = 512
"""Coarse frames that are looked through at once: 10 s."""
BATCH = 64


def levels(sound: np.ndarray, sample_rate: int) -> np.ndarray:
    """(channels, samples) → float32 (frames, BANDS) in dB, 200 frames a second: nothing cancels between channels."""
    filters = _filters()
    taper = np.hanning(WINDOW).astype(np.float32)
    power: np.ndarray | float = 0.0
    for channel in np.asarray(sound, np.float32):
        padded = np.pad(soxr.resample(channel, sample_rate, RATE), WINDOW // 2)
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
        power = power + np.square(np.abs(rfft(frames * taper, axis=1))) @ filters
    assert isinstance(power, np.ndarray)
    return (10 * np.log10(np.maximum(power, max(float(power.max()) * RANGE_POWER, 1e-9)))).astype(np.float32)


@cache
def _filters() -> np.ndarray:
    from librosa.filters import mel

    return mel(sr=RATE, n_fft=WINDOW, n_mels=BANDS, fmin=LOWEST_HZ, fmax=HIGHEST_HZ, norm=None).T


def nearest_by_spectrogram(
    sounds: Sequence[np.ndarray], clips: Sequence[np.ndarray], report: Callable[[int], None]
) -> list[list[Match]]:
    """For each sound the clips it is most alike to at any of the speeds, likeliest first, CANDIDATES or fewer; both as
    `levels`. `report` hears how many speeds were tried."""
    coarse_sounds, coarse_clips = ([_coarse(each) for each in of] for of in (sounds, clips))
    blocks = Blocks.of(coarse_clips)
    short = [clip for clip, each in enumerate(coarse_clips) if len(each) < LONGEST]
    around = Blocks.of(coarse_sounds if short else [])
    found: list[dict[int, Candidate]] = [{} for _ in sounds]
    for number, speed in enumerate(SPEEDS):
        _look_for_windows(coarse_sounds, blocks, speed, found)
        _look_for_clips(coarse_sounds, around, coarse_clips, short, speed, found)
        report(number + 1)
    return [
        likeliest(
            match for each in best_of(candidates.values()) for match in _align(sound, clips[each.clip], each)
        )
        for sound, candidates in zip(sounds, found, strict=True)
    ]


def _look_for_windows(
    sounds: Sequence[np.ndarray], blocks: Blocks, speed: float, found: list[dict[int, Candidate]]
) -> None:
    """Every window of the sounds, in the clips."""
    places, windows = [], []
    for sound, each in enumerate(sounds):
        size = min(len(each), round(LOOKED_FOR_SECONDS * COARSE_RATE))
        for start in window_starts(len(each), size, round(STEP_SECONDS * COARSE_RATE)):
            places.append((sound, start))
            windows.append(at_speed(each[start : start + size], speed))
    for (sound, start), heard in zip(places, blocks.look(windows), strict=True):
        for clip, like, offset in heard:
            lag = (offset - start * speed) / COARSE_RATE
            keep_likelier(found[sound], Candidate(clip, like, speed, lag, start / COARSE_RATE))


def _look_for_clips(
    sounds: Sequence[np.ndarray],
    blocks: Blocks,
    clips: Sequence[np.ndarray],
    short: Sequence[int],
    speed: float,
    found: list[dict[int, Candidate]],
) -> None:
    """Clips that are shorter than the window of a sound, in the blocks of the sounds."""
    for clip, heard in zip(
        short, blocks.look([at_speed(clips[clip], 1 / speed) for clip in short]), strict=True
    ):
        for sound, like, offset in heard:
            if len(clips[clip]) < min(LONGEST, len(sounds[sound]) * speed):
                at, lag = max(0, offset) / COARSE_RATE, -offset * speed / COARSE_RATE
                keep_likelier(found[sound], Candidate(clip, like, speed, lag, at))


def at_speed(frames: np.ndarray, speed: float) -> np.ndarray:
    """(frames, bands) → (frames · speed, bands): what is played at `speed` as it would be at 1."""
    count = max(1, round(len(frames) * speed))
    return _interpolate(frames, np.minimum(np.arange(count) / speed, len(frames) - 1))


def _interpolate(frames: np.ndarray, at: np.ndarray) -> np.ndarray:
    before = np.floor(at).astype(int)
    part = (at - before)[:, None].astype(np.float32)
    return frames[before] * (1 - part) + frames[np.minimum(before + 1, len(frames) - 1)] * part


def _coarse(frames: np.ndarray) -> np.ndarray:
    whole = max(1, len(frames) // COARSE)
    padded = np.pad(frames, ((0, max(0, COARSE - len(frames))), (0, 0)), mode="edge")
    return padded[: whole * COARSE].reshape(whole, COARSE, -1).mean(axis=1, dtype=np.float32)


@dataclass(frozen=True)
class Blocks:
    """All clips in blocks of one length: of each its clip, where in it it begins, how long it is, its frames
    (blocks, BLOCK, BANDS) and their spectra (frequencies, BANDS, blocks)."""

    clips: list[int]
    begins: list[int]
    lengths: np.ndarray
    frames: np.ndarray
    spectra: np.ndarray

    @classmethod
    def of(cls, clips: Sequence[np.ndarray]) -> Blocks:
        edge = round(EDGE_SECONDS * COARSE_RATE)
        hop = BLOCK - LONGEST - 1
        owners, begins, lengths, blocks = [], [], [], []
        for clip, frames in enumerate(clips):
            padded = np.pad(frames, ((edge, edge), (0, 0)), mode="minimum") - frames.mean(axis=0)
            for begin in range(0, max(1, len(padded) - BLOCK + hop), hop):
                block = padded[begin : begin + BLOCK]
                owners.append(clip)
                begins.append(begin - edge)
                lengths.append(len(block))
                blocks.append(np.pad(block, ((0, BLOCK - len(block)), (0, 0))))
        stacked = np.array(blocks, np.float32).reshape(-1, BLOCK, BANDS)
        spectra = np.ascontiguousarray(rfft(stacked, axis=1).transpose(1, 2, 0))
        return cls(owners, begins, np.array(lengths, int), stacked, spectra)

    def look(self, windows: Sequence[np.ndarray]) -> list[list[tuple[int, float, int]]]:
        """For each window, (clip, likeness, where it begins) at the likeliest place of each block."""
        found: list[list[tuple[int, float, int]]] = [[] for _ in windows]
        for size in sorted({len(window) for window in windows}):
            scale = self._scale(size)
            rows = [row for row, window in enumerate(windows) if len(window) == size]
            for first in range(0, len(rows), BATCH):
                some = rows[first : first + BATCH]
                self._look(some, np.stack([windows[row] for row in some]), scale, found)
        return found

    def _look(
        self,
        rows: list[int],
        windows: np.ndarray,
        scale: np.ndarray,
        found: list[list[tuple[int, float, int]]],
    ) -> None:
        """`windows`: (windows, frames, bands) of one length; `scale`: (blocks, offsets)."""
        windows = windows - windows.mean(axis=1, keepdims=True)
        norms = np.sqrt(np.square(windows).sum(axis=(1, 2)))
        spectra = np.conj(rfft(windows, BLOCK, axis=1)).transpose(1, 0, 2)
        for first in range(0, len(self.clips), BATCH):
            some = slice(first, first + BATCH)
            product = np.matmul(spectra, self.spectra[:, :, some]).transpose(1, 2, 0)
            likeness = irfft(product, BLOCK)[:, :, : scale.shape[1]] * scale[some]
            at = likeness.argmax(axis=2)
            best = np.take_along_axis(likeness, at[:, :, None], axis=2)[:, :, 0]
            for number, row in enumerate(rows):
                if norms[number] < 1e-3:
                    continue
                for block in range(best.shape[1]):
                    begin = self.begins[first + block] + int(at[number, block])
                    found[row].append(
                        (self.clips[first + block], float(best[number, block] / norms[number]), begin)
                    )

    def _scale(self, size: int) -> np.ndarray:
        """(blocks, offsets): one over the deviation of every stretch of `size` frames; 0 where there is none."""
        none = np.zeros((len(self.frames), 1, BANDS))
        sums = np.concatenate([none, np.cumsum(self.frames, axis=1, dtype=np.float64)], axis=1)
        squares = np.concatenate([none, np.cumsum(np.square(self.frames), axis=1, dtype=np.float64)], axis=1)
        total, power = sums[:, size:] - sums[:, :-size], squares[:, size:] - squares[:, :-size]
        spread = (power - np.square(total) / size).sum(axis=2)
        inside = np.arange(spread.shape[1]) <= (self.lengths - size)[:, None]
        heard = inside & (spread > size)
        return (heard / np.sqrt(np.where(heard, spread, 1.0))).astype(np.float32)


def _align(sound: np.ndarray, clip: np.ndarray, candidate: Candidate) -> list[Match]:
    """The candidate at finer speeds and offsets, and how far sound and clip go together."""
    size = min(len(sound), int(len(clip) / candidate.speed), round(LOOKED_FOR_SECONDS * FRAME_RATE))
    start = max(0, min(round(candidate.at * FRAME_RATE), len(sound) - size))
    about = candidate.lag * FRAME_RATE
    tried = []
    for finer in FINER_SPEEDS:
        speed = candidate.speed * finer
        for shift in range(-FINER_FRAMES, FINER_FRAMES + 1, 2):
            lag = about + start * (candidate.speed - speed) + shift
            tried.append((_likeness(sound, clip, start, size, speed, lag), speed, lag))
    _, speed, lag = max(tried)
    first, last = max(0, int(np.ceil(-lag / speed))), min(len(sound), int((len(clip) - 1 - lag) / speed))
    if last - first < size // 2:
        return []
    there = _interpolate(clip, lag + speed * np.arange(first, last))
    starts, likeness = running_correlation(sound[first:last], there, size, 5, centred=True)
    best, begin, end = extent(likeness)
    at, size = first + int(starts[begin]), min(size, last - first)
    length = int(starts[end]) - int(starts[begin]) + size
    like = float(np.clip(likeness[best], 0.0, 1.0))
    times = [frames / FRAME_RATE for frames in (size, at, at * speed + lag, length)]
    return [Match(candidate.clip, like, times[0], speed, *times[1:])]


def _likeness(sound: np.ndarray, clip: np.ndarray, start: int, size: int, speed: float, lag: float) -> float:
    at = lag + speed * np.arange(start, start + size)
    inside = (at >= 0) & (at <= len(clip) - 1)
    if inside.sum() < size // 2:
        return -1.0
    one, other = sound[start : start + size][inside], _interpolate(clip, at[inside])
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    scale = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.vdot(one, other)) / scale if scale > 1e-3 else -1.0
