"""Sounds as the page holds them: encoded, measured for loudness, drawn."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pyloudnorm
import soundfile as sf
import soxr
from PIL import Image

from finetune.audio_files import file_seconds, read_audio
from finetune.errors import WoodshedError
from finetune.evaluation.fidelity import FLOOR_DB, log_mel

SAMPLE_RATE = 44_100
OPUS_RATE = 48_000  # Opus knows no 44.1 kHz
MOST_MEGABYTES = 30.0
COLUMNS, BANDS = 480, 96
MOST_PICTURE_BYTES = COLUMNS * BANDS + 2000  # as many as there are points, and the palette
PAGE_BYTES = 500_000  # words, charts, style and script
LOUDEST_LUFS, QUIETEST_LUFS = -18.0, -30.0
PEAK_DB = -1.0
MOST_GAIN_DB = 30.0


@dataclass(frozen=True)
class Heard:
    """`audio` is a whole FLAC or Ogg Opus file, `picture` a PNG. `lufs` is the integrated loudness (ITU-R BS.1770-4),
    None for silence; `gain_db` brings it to the loudness of the others."""

    audio: bytes
    picture: bytes
    seconds: float
    lufs: float | None
    gain_db: float


def check_place(folder: Path, file: str) -> Path:
    """The file of a sound below `folder`. Raises WoodshedError where its name leads out of it."""
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()):
        raise WoodshedError(
            f"The evaluation names the sound {file!r}, which is outside of '{folder}'. Evaluate again."
        )
    return path


def choose_format(paths: list[Path], pictures: int) -> str:
    """`flac`, what the evaluation wrote, while the page stays below MOST_MEGABYTES with it; else `opus`."""
    largest = sum(path.stat().st_size for path in paths) + pictures * MOST_PICTURE_BYTES
    return "flac" if largest * 4 / 3 + PAGE_BYTES < MOST_MEGABYTES * 1e6 else "opus"


def read_sound(path: Path) -> np.ndarray:
    """(2, samples) at 44.1 kHz. Raises WoodshedError, with the cure, for what cannot be read."""
    try:
        return read_audio(path, SAMPLE_RATE, file_seconds(path))
    except WoodshedError as error:
        raise WoodshedError(f"{error} Run `woodshed evaluate` again, which makes the sounds anew.") from error


def encode(path: Path, sound: np.ndarray, kind: str) -> bytes:
    """The file as it is for `flac` where it is one of 44.1 kHz; for `opus` Ogg Opus of 48 kHz."""
    if kind == "flac":
        if path.suffix.lower() == ".flac":
            return path.read_bytes()
        return _written(sound, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    at_opus_rate = soxr.resample(sound.T, SAMPLE_RATE, OPUS_RATE, quality="VHQ").T
    return _written(at_opus_rate, OPUS_RATE, format="OGG", subtype="OPUS")


def _written(sound: np.ndarray, sample_rate: int, format: str, subtype: str) -> bytes:
    encoded = io.BytesIO()
    sf.write(encoded, np.clip(sound, -1, 1).T, sample_rate, format=format, subtype=subtype)
    return encoded.getvalue()


def loudness(sound: np.ndarray) -> float | None:
    """LUFS of a (2, samples) sound; one shorter than a block of 0.4 s is repeated to fill it. None for silence."""
    block = round(0.4 * SAMPLE_RATE) + 1
    repeated = np.tile(sound, -(-block // sound.shape[1]))
    measured = float(pyloudnorm.Meter(SAMPLE_RATE).integrated_loudness(repeated.T.astype(np.float64)))
    return measured if np.isfinite(measured) else None


def gains(levels: Mapping[str, tuple[float | None, float]]) -> dict[str, float]:
    """dB for each of (LUFS, highest absolute sample) that makes them equally loud and clips none.

    The common loudness is the highest that leaves every peak at -1 dB, from -30 to -18 LUFS: one sound of peaks alone
    does not make all others faint, and stays quieter than they are.
    """
    room = {
        name: PEAK_DB - 20 * np.log10(peak)
        for name, (lufs, peak) in levels.items()
        if lufs is not None and peak > 0
    }
    highest = min((levels[name][0] + room[name] for name in room), default=LOUDEST_LUFS)
    target = max(QUIETEST_LUFS, min(LOUDEST_LUFS, highest))
    found = dict.fromkeys(levels, 0.0)
    for name, room_db in room.items():
        lufs = levels[name][0]
        assert lufs is not None
        found[name] = round(float(min(target - lufs, room_db, MOST_GAIN_DB)), 2)
    return found


def picture(sound: np.ndarray, gain_db: float) -> bytes:
    """The log-mel spectrogram from edge to edge of the sound, low below, as PNG of 480 columns: one scale for all."""
    hop = max(1, sound.shape[1] // COLUMNS)
    levels = log_mel(sound * 10 ** (gain_db / 20), SAMPLE_RATE, BANDS, hop)[::-1]
    shades = np.clip((levels - FLOOR_DB) / -FLOOR_DB, 0, 1)
    columns = np.linspace(0, shades.shape[1] - 1, COLUMNS).astype(int)
    image = Image.fromarray(np.round(255 * shades[:, columns]).astype(np.uint8), "L").convert("P")
    image.putpalette(_palette())
    encoded = io.BytesIO()
    image.save(encoded, "PNG", optimize=True)
    return encoded.getvalue()


def _palette() -> list[int]:
    colours = matplotlib.colormaps["magma"](np.linspace(0, 1, 256))[:, :3]
    return [int(value) for value in np.round(255 * colours).ravel()]


def as_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
