"""The WAV of a slice, byte for byte: what `prep` writes, what a review writes, and what a rebuild must give."""

from __future__ import annotations

import io

import numpy as np

from data_prep.recording import SAMPLE_RATE
from data_prep.slices import Span, cut


def clip_wav(samples: np.ndarray, span: Span, gain_db: float) -> bytes:
    """A slice of a recording (2, samples) as a PCM-24 WAV file at 44.1 kHz."""
    import soundfile

    piece = cut(samples, span.start, span.end, gain_db, span.fade_in, span.fade_out)
    memory = io.BytesIO()
    soundfile.write(memory, piece.T, SAMPLE_RATE, format="WAV", subtype="PCM_24")
    return memory.getvalue()
