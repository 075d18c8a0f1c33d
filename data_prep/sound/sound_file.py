"""A file of sound, opened: what it is, and its samples in blocks. libsndfile reads it, or FFmpeg by PyAV.

The content decides, not the name: libsndfile is asked first, PyAV where libsndfile knows nothing of it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.sound.downmix import named_speakers
from data_prep.sound.formats import PYAV_SUFFIXES, plain_name
from data_prep.sound.recording_fault import RecordingFault

if TYPE_CHECKING:
    from soundfile import SoundFile

BLOCK_VALUES = 1 << 21
"""Samples of all channels in a block: 8 MB, whatever the number of channels."""
NEEDS_PYAV = (
    "{suffix} is read with the extra `av`: pip install 'woodshed[av]' and run the same command again, or convert it "
    "to WAV or FLAC"
)


@dataclass(frozen=True)
class OpenSound:
    """`frames` is the length that the file promises, None where it promises none; `speakers` names the channels
    where the file does (downmix.py). `blocks` gives float32 (frames, channels) up to the end of the file, or up to
    where the decoder gives up."""

    sample_rate: int
    channels: int
    frames: int | None
    container: str
    subtype: str
    speakers: tuple[str, ...]
    blocks: Callable[[], Iterator[np.ndarray]]


@contextlib.contextmanager
def open_sound(path: Path) -> Iterator[OpenSound]:
    """RecordingFault `unreadable` for what neither library reads, `foreign_format` for what needs PyAV and has none."""
    import soundfile

    check_openable(path)
    try:
        file = soundfile.SoundFile(path if os.name == "nt" else os.fsencode(path))
    except soundfile.LibsndfileError as error:
        if path.suffix.lower() not in PYAV_SUFFIXES:
            reason = f"not audio that can be decoded ({error.error_string})"
            raise RecordingFault("unreadable", reason) from error
    except (
        TypeError,
        ValueError,
    ) as error:  # no sample rate, no channels, no format that soundfile has a name for
        raise RecordingFault("unreadable", f"not audio that can be decoded ({error})") from error
    else:
        with file:
            yield _by_libsndfile(path, file)
        return
    with _opened_by_pyav(path) as container:
        yield _by_pyav(container)


def check_openable(path: Path) -> None:
    """RecordingFault where the file cannot be opened, or is empty, or is no file (a pipe would be waited for)."""
    try:
        if not path.is_file() and path.exists():
            raise RecordingFault("unreadable", "not a file")
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


def _by_libsndfile(path: Path, file: SoundFile) -> OpenSound:
    import soundfile

    def blocks() -> Iterator[np.ndarray]:
        size = max(1, BLOCK_VALUES // file.channels)
        with contextlib.suppress(soundfile.LibsndfileError):
            while len(block := file.read(size, dtype="float32", always_2d=True)):
                yield block

    return OpenSound(
        file.samplerate,
        file.channels,
        file.frames if file.frames < 1 << 62 else None,
        plain_name(file.format),
        file.subtype,
        named_speakers(path, file.format, file.channels),
        blocks,
    )


@contextlib.contextmanager
def _opened_by_pyav(path: Path) -> Iterator[Any]:
    """The container; opened as a file, so that nothing in it leads to another file or to the network."""
    try:
        import av
    except ImportError as error:
        raise RecordingFault("foreign_format", NEEDS_PYAV.format(suffix=path.suffix.lower())) from error
    with path.open("rb") as file:
        try:
            container = av.open(file, options={"protocol_whitelist": "file"})
        except (av.FFmpegError, ValueError) as error:
            raise RecordingFault("unreadable", f"not audio that can be decoded ({error})") from error
        with container:
            yield container


def _by_pyav(container: Any) -> OpenSound:
    import av

    if not container.streams.audio:
        raise RecordingFault("no_sound", "there is no sound in it, only pictures")
    stream = container.streams.best("audio")
    rate, layout = stream.codec_context.sample_rate, stream.codec_context.layout
    if not rate or not layout.nb_channels:
        raise RecordingFault("unreadable", "not audio that can be decoded (its sample rate is not known)")

    def blocks() -> Iterator[np.ndarray]:
        as_float = av.AudioResampler(format="flt", layout=layout, rate=rate)
        with contextlib.suppress(av.FFmpegError):
            for frame in container.decode(stream):
                for part in as_float.resample(frame):
                    yield part.to_ndarray().reshape(-1, layout.nb_channels)

    seconds = stream.duration and float(stream.duration * stream.time_base)
    return OpenSound(
        rate,
        layout.nb_channels,
        round(seconds * rate) if seconds else None,
        container.format.name.split(",")[0],
        stream.codec_context.name,
        tuple(channel.name for channel in layout.channels),
        blocks,
    )
