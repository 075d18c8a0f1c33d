"""Audio files of a musician: read as the base needs them, written with what made them in their tags."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from tinytag import TinyTag, TinyTagException

from finetune.errors import WoodshedError
from finetune.files import write_file

BITS = {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}
KINDS = ("wav", "flac")
SPARE_SECONDS = 0.1  # read beyond what is wanted, so that resampling hears no end there


def audio_kind(path: Path, bits: int = 24) -> str:
    """`wav` or `flac`. Raises WoodshedError for a name of another kind, and for what the kind cannot hold."""
    kind = path.suffix.lower().lstrip(".")
    if kind not in KINDS:
        raise WoodshedError(f"'{path.name}' must end in .wav or .flac.")
    if bits not in BITS:
        raise WoodshedError(f"--bits {bits} is not one of {', '.join(map(str, BITS))}.")
    if kind == "flac" and bits == 32:
        raise WoodshedError("FLAC holds 16 or 24 bits; for --bits 32 (floating point) write a .wav.")
    return kind


def write_audio(
    path: Path, audio: np.ndarray, sample_rate: int, bits: int = 24, about: dict[str, Any] | None = None
) -> None:
    """Write (2, samples) audio, -1..1, as WAV or FLAC by the name; beside first, then renamed.

    16 and 24 bits are rounded to the nearest step, 32 is floating point. `about` goes into the comment as JSON, its
    `prompt` into the title: INFO tags of a WAV, Vorbis comments of a FLAC.
    """
    kind = audio_kind(path, bits)
    encoded = io.BytesIO()
    try:
        with sf.SoundFile(encoded, "w", sample_rate, len(audio), BITS[bits], format=kind.upper()) as file:
            file.software = "Woodshed"
            if about is not None:
                file.title = " ".join(str(about.get("prompt", "")).split())
                file.comment = json.dumps(about)
            file.write(audio.T if bits == 32 else _whole_numbers(audio.T, bits))
        write_file(path, encoded.getvalue())
    except (OSError, sf.LibsndfileError) as error:
        raise WoodshedError(f"'{path}' could not be written: {error}") from error


def _whole_numbers(audio: np.ndarray, bits: int) -> np.ndarray:
    """int32 with the sample in the upper `bits`: libsndfile's own scaling would move loud samples by one step."""
    steps = 2 ** (bits - 1)
    rounded = np.clip(np.rint(audio.astype(np.float64) * steps), -steps, steps - 1)
    return rounded.astype(np.int32) << (32 - bits)


def read_about(path: Path) -> dict[str, Any]:
    """What `write_audio` wrote as `about`. Raises WoodshedError for a file without."""
    try:
        about = json.loads(TinyTag.get(path).comment or "")
    except (OSError, TinyTagException, ValueError) as error:
        about = error
    if not isinstance(about, dict) or "woodshed" not in about:
        raise WoodshedError(
            f"'{path}' does not say how it was made: it is missing, or not a WAV or FLAC that woodshed generate wrote."
        )
    return about


def file_seconds(path: Path) -> float:
    """Length of an audio file, from its header."""
    with _open(path) as file:
        return file.frames / file.samplerate


def read_audio(path: Path, sample_rate: int, seconds: float) -> np.ndarray:
    """The first `seconds` of a file, or less if it is shorter, as (2, samples) float32 at `sample_rate`.

    Mono becomes two equal channels. Raises WoodshedError for what is no audio, has more than two channels, no samples,
    or samples that are no numbers.
    """
    with _open(path) as file:
        rate, channels = file.samplerate, file.channels
        try:
            audio = file.read(round((seconds + SPARE_SECONDS) * rate), dtype="float32", always_2d=True)
        except sf.LibsndfileError as error:
            raise WoodshedError(f"'{path}' is damaged: {error}") from error
    if channels > 2:
        raise WoodshedError(f"'{path}' has {channels} channels; save it as stereo or mono first.")
    if not len(audio):
        raise WoodshedError(f"'{path}' holds no sound.")
    if not np.isfinite(audio).all():
        raise WoodshedError(f"'{path}' holds samples that are no numbers (NaN or infinite); export it anew.")
    if rate != sample_rate:
        audio = soxr.resample(audio, rate, sample_rate, quality="VHQ")
    stereo = np.repeat(audio.T, 2, axis=0) if channels == 1 else audio.T
    return np.ascontiguousarray(stereo[:, : round(seconds * sample_rate)])


def _open(path: Path) -> sf.SoundFile:
    if not path.is_file():
        raise WoodshedError(f"There is no file '{path}'.")
    try:
        return sf.SoundFile(path)
    except (OSError, sf.LibsndfileError) as error:
        raise WoodshedError(
            f"'{path}' cannot be read as audio (WAV, AIFF, FLAC, OGG, MP3): {error}"
        ) from error
