"""The WAV of a slice, byte for byte: what `prep` writes, what a review writes, and what a rebuild must give."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.files import PrepError
from data_prep.slicing.slices import Span, cut
from data_prep.sound.recording import SAMPLE_RATE, Decoded, RecordingFault, decode


def clip_wav(samples: np.ndarray, span: Span, gain_db: float) -> bytes:
    """A slice of a recording (2, samples) as a PCM-24 WAV file at 44.1 kHz."""
    import soundfile

    piece = cut(samples, span.start, span.end, gain_db, span.fade_in, span.fade_out)
    memory = io.BytesIO()
    soundfile.write(memory, piece.T, SAMPLE_RATE, format="WAV", subtype="PCM_24")
    return memory.getvalue()


def rebuild(row: Mapping[str, Any], recordings: Path | str) -> bytes:
    """The WAV of a slice, bit for bit, from its row of manifest.jsonl and the folder of recordings.

    PrepError where the recording is not there, or is not the one it was cut from.
    """
    root = Path(recordings).resolve()
    path = Path(recordings) / row["recording"]
    name = Path(row["recording"])
    if name.is_absolute() or ".." in name.parts or not path.is_file():
        raise PrepError(
            f"{row['recording']} is not in {root}; give the folder that the slices were cut from."
        )
    try:
        return clip_of(row, decode(path))
    except RecordingFault as fault:
        raise PrepError(f"{row['recording']}: {fault.reason}.") from fault


def clip_of(row: Mapping[str, Any], decoded: Decoded) -> bytes:
    """The WAV of a row from its recording; PrepError where it is not the sound that the row names."""
    content = clip_wav(decoded.samples, span_of(row), row["gain_db"])
    if hashlib.sha256(content).hexdigest() != row["clip_sha256"]:
        raise PrepError(
            f"{row['id']} cannot be rebuilt: {row['recording']} is not the recording it was cut from. Bring the "
            "original recording back, or delete the row from the manifest."
        )
    return content


def span_of(row: Mapping[str, Any]) -> Span:
    return Span(row["start_sample"], row["end_sample"], row["fade_in_samples"], row["fade_out_samples"])
