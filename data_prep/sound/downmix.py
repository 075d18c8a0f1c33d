"""Any number of channels brought to two.

Where the file names its speakers (WAVE_FORMAT_EXTENSIBLE, FLAC, film formats), they are mixed as ITU-R BS.775 says:
the centre and each surround at -3 dB to their side, the subwoofer left out, all lowered alike so that nothing clips.
Where it does not (several microphones, a field recorder), the first, third, ... go to the left, the others to the
right, each side their mean.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_prep.sound.chunks import find_chunks

SPEAKERS = (
    "FL", "FR", "FC", "LFE", "BL", "BR", "FLC", "FRC", "BC", "SL", "SR", "TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR",
)  # fmt: skip
"""In the order of the bits of a WAV's channel mask; FFmpeg uses the same names."""
_HALF = 0.5**0.5
_CENTRE = frozenset({"FC", "BC", "TC", "TFC", "TBC"})
_FLAC_SPEAKERS = {
    3: "FL FR FC", 4: "FL FR BL BR", 5: "FL FR FC BL BR", 6: "FL FR FC LFE BL BR", 7: "FL FR FC LFE BC SL SR",
    8: "FL FR FC LFE BL BR SL SR",
}  # fmt: skip
EXTENSIBLE = 0xFFFE


def mixing_weights(channels: int, speakers: tuple[str, ...]) -> np.ndarray:
    """(channels, 2), float32. `speakers` names each channel; where it does not name them all, they count as unnamed."""
    weights = np.zeros((channels, 2), np.float32)
    if channels == 1:
        return np.ones((1, 2), np.float32)
    if channels > 2 and len(speakers) == channels and {"FL", "FR"} <= set(speakers) <= set(SPEAKERS):
        for row, name in zip(weights, speakers, strict=True):
            row[:] = _speaker(name)
        return weights / weights.sum(axis=0).max()
    weights[0::2, 0] = 1 / len(weights[0::2])
    weights[1::2, 1] = 1 / len(weights[1::2])
    return weights


def named_speakers(path: Path, container: str, channels: int) -> tuple[str, ...]:
    """What a file that libsndfile reads says about its channels; empty where it says nothing."""
    if channels <= 2:
        return ()
    if container == "FLAC":
        return tuple(_FLAC_SPEAKERS.get(channels, "").split())
    chunks = find_chunks(path)
    content = chunks.read(b"fmt ") if chunks and chunks.form == "WAVE" else b""
    if len(content) < 24 or int.from_bytes(content[:2], "little") != EXTENSIBLE:
        return ()
    mask = int.from_bytes(content[20:24], "little")
    return tuple(name for bit, name in enumerate(SPEAKERS) if mask >> bit & 1)


def _speaker(name: str) -> tuple[float, float]:
    if name == "LFE":
        return 0.0, 0.0
    if name in ("FL", "FR"):
        return (1.0, 0.0) if name == "FL" else (0.0, 1.0)
    if name in _CENTRE:
        return _HALF, _HALF
    return (_HALF, 0.0) if "L" in name else (0.0, _HALF)
