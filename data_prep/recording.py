"""Recordings as they come: found in a folder, decoded, brought to 44.1 kHz stereo.

soundfile (libsndfile) decodes by content, not by name; soxr resamples the whole recording at its highest quality.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from soundfile import SoundFile

SAMPLE_RATE = 44_100
LOWEST_SAMPLE_RATE = 22_050
"""Below it a recording has no cymbal above 11 kHz to teach; it is left out."""
SHORTEST_SECONDS = 0.05
SILENT_PEAK = 1e-4
"""-80 dBFS"""
AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".aif", ".aiff", ".aifc", ".flac", ".ogg", ".oga", ".opus", ".mp3"}
)
FOREIGN_SUFFIXES = frozenset({".m4a", ".aac", ".wma", ".mp4", ".mov", ".caf", ".rex", ".rx2"})
"""Audio that soundfile does not read: named in the report instead of passed over."""

_FORMAT_OF_SUFFIX = {
    ".wav": "WAV", ".wave": "WAV", ".aif": "AIFF", ".aiff": "AIFF", ".aifc": "AIFF", ".flac": "FLAC",
    ".ogg": "OGG", ".oga": "OGG", ".opus": "OGG", ".mp3": "MP3",
}  # fmt: skip
BLOCK_FRAMES = 1 << 20
MISSING_SECONDS = 0.1
FULL_SCALE = 0.9999
"""The largest positive 16-bit sample is 0.99997 of full scale."""


class RecordingFault(Exception):
    """Why a recording is left out: `gate` is one word for programs, the message a sentence for the musician."""

    def __init__(self, gate: str, reason: str) -> None:
        super().__init__(reason)
        self.gate = gate
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.gate, self.reason)


@dataclass(frozen=True)
class Decoded:
    """A whole recording: `samples` float32 (2, samples) at 44.1 kHz, before any gain, and what the file was."""

    samples: np.ndarray
    pcm_sha256: str
    """SHA-256 of the decoded samples of the file: interleaved little-endian float32, own rate, all channels."""
    source_rate: int
    channels: int
    subtype: str
    container: str
    clipped_samples: np.ndarray
    """Where runs of three or more full-scale samples start, int64, at 44.1 kHz."""

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / SAMPLE_RATE


def find_recordings(
    root: Path, leave: Path | None = None
) -> tuple[list[Path], list[tuple[Path, RecordingFault]]]:
    """Every audio file under `root` in a stable order, and what looks like audio but cannot be opened, with why.

    Hidden files and everything below the folder `leave` are passed over. Links to folders are followed, but no
    folder is entered twice, so a link that leads back to a folder above it ends there and is named.
    """
    found: list[Path] = []
    faults: list[tuple[Path, RecordingFault]] = []
    seen = {_identity(leave)} if leave and leave.is_dir() else set()

    def walk(folder: Path) -> None:
        seen.add(_identity(folder))
        try:
            entries = sorted(folder.iterdir(), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            faults.append(
                (folder, RecordingFault("unreadable", f"the folder cannot be opened: {error.strerror}"))
            )
            return
        for path in entries:
            if path.name.startswith("."):
                continue
            if path.is_dir():
                if _identity(path) not in seen:
                    walk(path)
                elif path.is_symlink():
                    reason = (
                        "a link to a folder that is already part of this library; it is not followed again"
                    )
                    faults.append((path, RecordingFault("link_loop", reason)))
                if path.suffix.lower() in AUDIO_SUFFIXES and not any(path.iterdir()):
                    faults.append(
                        (path, RecordingFault("unreadable", "a folder with the name of an audio file"))
                    )
            elif path.suffix.lower() in AUDIO_SUFFIXES:
                found.append(path)
            elif path.suffix.lower() in FOREIGN_SUFFIXES:
                reason = f"{path.suffix.lower()} files are not read; convert it to WAV or FLAC"
                faults.append((path, RecordingFault("foreign_format", reason)))

    walk(root)
    return found, faults


def decode(path: Path) -> Decoded:
    """The whole recording at 44.1 kHz stereo.

    Mono goes to both channels. More than two channels are folded: the mean of the even-numbered ones (first,
    third, ...) to the left, of the others to the right.

    Raises RecordingFault for what cannot be used: unreadable, empty, truncated, silent, not a number, too low a
    sample rate, shorter than 50 ms.
    """
    import soundfile
    import soxr

    check_openable(path)
    try:
        with soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path)) as file:
            if file.samplerate < LOWEST_SAMPLE_RATE:
                raise RecordingFault(
                    "low_sample_rate",
                    f"recorded at {file.samplerate / 1000:g} kHz: nothing above {file.samplerate / 2000:g} kHz is "
                    "in it, and it would teach dull cymbals",
                )
            _check_complete(path, file)
            stereo, clipped, pcm_sha256 = _read_stereo(file)
            container, subtype = file.format, file.subtype
            source_rate, channels = file.samplerate, file.channels
    except soundfile.LibsndfileError as error:
        raise RecordingFault("unreadable", f"not audio that can be decoded ({error.error_string})") from error
    _check_sound(stereo, source_rate)
    if source_rate != SAMPLE_RATE:
        stereo = soxr.resample(stereo, source_rate, SAMPLE_RATE, quality="VHQ")
        clipped = np.round(clipped * (SAMPLE_RATE / source_rate)).astype(np.int64)
    return Decoded(
        samples=np.ascontiguousarray(stereo.T, dtype=np.float32),
        pcm_sha256=pcm_sha256,
        source_rate=source_rate,
        channels=channels,
        subtype=subtype,
        container="WAV" if container.startswith("WAV") else container,
        clipped_samples=clipped,
    )


def suffix_belies(path: Path, container: str) -> bool:
    """Whether the name says another format than the one inside (a FLAC named .wav)."""
    return _FORMAT_OF_SUFFIX.get(path.suffix.lower(), container) != container


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def check_openable(path: Path) -> None:
    """RecordingFault where the file cannot be opened, or is empty."""
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise RecordingFault("empty", "the file is empty (0 bytes)")
    except FileNotFoundError as error:
        raise RecordingFault("unreadable", "a link to a file that is not there") from error
    except OSError as error:
        reason = (
            "a link that leads to itself"
            if error.errno == errno.ELOOP
            else f"cannot be opened: {error.strerror}"
        )
        raise RecordingFault("unreadable", reason) from error


def _check_complete(path: Path, file: SoundFile) -> None:
    """Compare what the header of a WAV or AIFF promises with what the file holds.

    libsndfile reads up to the end of the file and says nothing. A size of 0 or 2^32 - 1 is what programs write
    that stream and do not know the length: it promises nothing.
    """
    if file.format not in {"WAV", "WAVEX", "AIFF"}:
        return
    promised, present = _sound_chunk_bytes(path, b"data" if file.format != "AIFF" else b"SSND")
    if promised in (0, 0xFFFFFFFF) or promised <= present:
        return
    share = present / promised
    raise RecordingFault(
        "truncated",
        f"truncated: {share:.0%} of the sound that the header promises is there; copy it again from the original",
    )


def _sound_chunk_bytes(path: Path, name: bytes) -> tuple[int, int]:
    """(bytes promised, bytes present) of the chunk that holds the samples; (0, 0) where there is none."""
    size = path.stat().st_size
    order: Literal["little", "big"] = "little" if name == b"data" else "big"
    with path.open("rb") as file:
        position = 12
        while position + 8 <= size:
            file.seek(position)
            chunk, length = file.read(4), int.from_bytes(file.read(4), order)
            if chunk == name:
                return length, size - position - 8
            position += 8 + length + length % 2
    return 0, 0


def _read_stereo(file: SoundFile) -> tuple[np.ndarray, np.ndarray, str]:
    """Samples float32 (frames, 2), starts of clipped runs, PCM hash.

    Read in blocks, so that a recording of many channels is never in memory whole.
    """
    digest = hashlib.sha256()
    blocks, clipped, position = [], [], 0
    for block in _blocks(file):
        digest.update(np.ascontiguousarray(block, dtype="<f4").tobytes())
        clipped.append(position + _clipped_runs(block))
        position += len(block)
        left = block[:, 0::2]
        right = block[:, 1::2] if block.shape[1] > 1 else block
        blocks.append(np.stack([left.mean(axis=1), right.mean(axis=1)], axis=1))
    if file.frames - position > MISSING_SECONDS * file.samplerate:
        raise RecordingFault(
            "truncated",
            f"truncated: decoding stops at {position / file.samplerate:.1f} of "
            f"{file.frames / file.samplerate:.1f} seconds; copy it again from the original",
        )
    if not blocks:
        raise RecordingFault("empty", "the file has a header and no sound")
    return np.concatenate(blocks), np.concatenate(clipped), digest.hexdigest()


def _blocks(file: SoundFile) -> Iterator[np.ndarray]:
    """Blocks (frames, channels) up to the end, or up to where the decoder gives up."""
    import soundfile

    blocks = file.blocks(BLOCK_FRAMES, dtype="float32", always_2d=True)
    with contextlib.suppress(soundfile.LibsndfileError):
        yield from blocks


def _clipped_runs(block: np.ndarray) -> np.ndarray:
    """Frames at which some channel starts a run of three or more samples at full scale."""
    full = np.abs(block) >= FULL_SCALE
    run = full[2:] & full[1:-1] & full[:-2]
    first = run.copy()
    first[1:] &= ~run[:-1]
    return np.flatnonzero(first.any(axis=1))


def _check_sound(stereo: np.ndarray, sample_rate: int) -> None:
    bad = np.count_nonzero(~np.isfinite(stereo).all(axis=1))
    if bad:
        raise RecordingFault(
            "not_a_number", f"{bad} samples are NaN or infinite; export it again as 24-bit WAV"
        )
    if len(stereo) < SHORTEST_SECONDS * sample_rate:
        raise RecordingFault("too_short", f"only {1000 * len(stereo) / sample_rate:.0f} ms long")
    if np.abs(stereo).max() < SILENT_PEAK:
        raise RecordingFault("silent", "silent: nothing in it is louder than -80 dBFS")
