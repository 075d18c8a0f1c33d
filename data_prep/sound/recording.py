"""One recording, decoded and brought to 44.1 kHz stereo, in bounded memory whatever its length.

It is decoded once, in blocks; soxr resamples them at its highest quality, with the same result as for the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.sound.downmix import mixing_weights
from data_prep.sound.hearing import Hearing
from data_prep.sound.recording_fault import RecordingFault as RecordingFault
from data_prep.sound.sound_file import OpenSound, open_sound
from data_prep.sound.sound_file import check_openable as check_openable
from data_prep.sound.sound_store import SoundStore
from data_prep.sound.truncation import ends_without_end, share_present

SAMPLE_RATE = 44_100
LOWEST_SAMPLE_RATE, HIGHEST_SAMPLE_RATE = 22_050, 768_000
"""Below the lowest a recording has no cymbal above 11 kHz to teach; nothing records above the highest."""
SHORTEST_SECONDS = 0.05
SILENT_PEAK = 1e-4
"""-80 dBFS"""
LOUDEST_PEAK = 1000.0
"""60 dB over full scale: no program writes that, a wrong header does."""
MISSING_SECONDS = 0.1


@dataclass(frozen=True)
class Decoded:
    """A whole recording: `samples` float32 (2, samples) at 44.1 kHz, before any gain, and what the file was.

    A long recording lies in a file that is mapped into memory: go through it with blocks.in_blocks.
    """

    samples: np.ndarray
    pcm_sha256: str
    """SHA-256 of the decoded samples of the file: interleaved little-endian float32, own rate, all channels."""
    source_rate: int
    channels: int
    subtype: str
    container: str
    clipped_samples: np.ndarray
    """Where runs of three or more full-scale samples start, int64, at 44.1 kHz."""
    dc_offset: float
    """The larger mean of the two channels, without sign."""
    same_on_both: bool
    downmix: str | None
    """How more than two channels were brought to two: `speakers` by the names that the file gives them, `sides` the
    odd ones left and the even ones right."""
    cut_off: bool
    """Whether an Ogg file ends without the mark of its end."""

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / SAMPLE_RATE


def decode(path: Path, scratch: Path | None = None) -> Decoded:
    """The whole recording at 44.1 kHz stereo; mono goes to both channels, more than two are mixed (downmix.py).

    `scratch`: folder for temporary files, for recordings of more than some minutes; without it they are in memory.

    Raises RecordingFault for what cannot be used: unreadable, empty, truncated, silent, not a number, too low a
    sample rate, shorter than 50 ms. OSError where `scratch` cannot be written to.
    """
    with open_sound(path) as sound:
        _check_rate(sound.sample_rate)
        _check_there(share_present(path, sound.container))
        weights = mixing_weights(sound.channels, sound.speakers)
        heard, store = Hearing(), SoundStore(scratch)
        for block in resampled(mixed(heard.listen(sound.blocks()), weights), sound.sample_rate):
            store.append(block)
        _check_complete(heard.frames, sound)
        _check_sound(heard, sound.sample_rate)
        samples = store.finish()
        return Decoded(
            samples=samples,
            pcm_sha256=heard.digest.hexdigest(),
            source_rate=sound.sample_rate,
            channels=sound.channels,
            subtype=sound.subtype,
            container=sound.container,
            clipped_samples=np.round(heard.clipped() * (SAMPLE_RATE / sound.sample_rate)).astype(np.int64),
            dc_offset=float(np.abs(store.sums).max()) / samples.shape[1],
            same_on_both=store.same_on_both,
            downmix=_downmix_name(sound, weights),
            cut_off=sound.container == "OGG" and ends_without_end(path),
        )


def mixed(blocks: Iterable[np.ndarray], weights: np.ndarray) -> Iterator[np.ndarray]:
    """Blocks (frames, channels) as stereo; `weights` (channels, 2)."""
    for block in blocks:
        if block.shape[1] == 1:
            yield np.repeat(block, 2, axis=1)
        else:
            yield block if block.shape[1] == 2 else block @ weights


def resampled(blocks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Stereo blocks at 44.1 kHz; nothing is changed that has this rate."""
    import soxr

    if rate == SAMPLE_RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 2, dtype="float32", quality="VHQ")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.empty((0, 2), np.float32), last=True)


def _downmix_name(sound: OpenSound, weights: np.ndarray) -> str | None:
    if sound.channels <= 2:
        return None
    return "sides" if np.array_equal(weights, mixing_weights(sound.channels, ())) else "speakers"


def _check_rate(rate: int) -> None:
    if rate < LOWEST_SAMPLE_RATE:
        raise RecordingFault(
            "low_sample_rate",
            f"recorded at {rate / 1000:g} kHz: nothing above {rate / 2000:g} kHz is in it, and it would teach dull "
            "cymbals",
        )
    if rate > HIGHEST_SAMPLE_RATE:
        raise RecordingFault(
            "odd_sample_rate",
            f"its header says {rate / 1000:g} kHz, which nothing records at; export it again",
        )


def _check_there(share: float) -> None:
    if share < 1:
        raise RecordingFault(
            "truncated",
            f"truncated: {share:.0%} of the sound that the header promises is there; copy it again from the original",
        )


def _check_complete(frames: int, sound: OpenSound) -> None:
    if sound.frames and sound.frames - frames > MISSING_SECONDS * sound.sample_rate:
        raise RecordingFault(
            "truncated",
            f"truncated: decoding stops at {frames / sound.sample_rate:.1f} of "
            f"{sound.frames / sound.sample_rate:.1f} seconds; copy it again from the original",
        )
    if not frames:
        raise RecordingFault("empty", "the file has a header and no sound")


def _check_sound(heard: Hearing, rate: int) -> None:
    if heard.bad_frames:
        raise RecordingFault(
            "not_a_number", f"{heard.bad_frames} samples are NaN or infinite; export it again as 24-bit WAV"
        )
    if heard.frames < SHORTEST_SECONDS * rate:
        raise RecordingFault("too_short", f"only {1000 * heard.frames / rate:.0f} ms long")
    if heard.peak < SILENT_PEAK:
        raise RecordingFault("silent", "silent: nothing in it is louder than -80 dBFS")
    if heard.peak > LOUDEST_PEAK:
        raise RecordingFault(
            "too_loud",
            f"{20 * np.log10(heard.peak):.0f} dB over full scale: no sound, but a damaged file; export it again",
        )
