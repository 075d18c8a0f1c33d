"""Quality gates: what is doubtful about a recording or a slice, said and never silently mended."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from data_prep.sound.formats import suffix_belies
from data_prep.sound.recording import SAMPLE_RATE, Decoded

DC_SHARE = 0.003


def recording_gates(path: Path, decoded: Decoded) -> dict[str, str]:
    """Gate -> sentence, for a recording that is used all the same."""
    gates: dict[str, str] = {}
    rate = decoded.source_rate
    if len(decoded.clipped_samples):
        gates["clipped"] = f"clipped in {len(decoded.clipped_samples)} places"
    if decoded.dc_offset > DC_SHARE:
        gates["dc"] = f"DC offset of {decoded.dc_offset:.1%} of full scale"
    if rate < SAMPLE_RATE:
        gates["below_44100"] = f"recorded at {rate / 1000:g} kHz: nothing above {rate / 2000:g} kHz is in it"
    elif rate > SAMPLE_RATE:
        gates["resampled"] = f"resampled from {rate / 1000:g} to 44.1 kHz"
    if decoded.channels == 1:
        gates["mono"] = "mono: the same on both channels"
    elif decoded.downmix == "sides":
        gates["downmix"] = f"{decoded.channels} channels folded to stereo: odd ones left, even ones right"
    elif decoded.downmix == "speakers":
        gates["downmix"] = f"{decoded.channels} channels mixed to stereo by the speakers that the file names"
    elif decoded.same_on_both:
        gates["dual_mono"] = "stereo file with the same on both channels"
    if decoded.subtype in {"PCM_S8", "PCM_U8"}:
        gates["eight_bit"] = "8-bit: quiet parts are noise"
    if decoded.cut_off:
        gates["cut_off"] = "it ends without the mark of its end: something may be missing"
    if suffix_belies(path.suffix, decoded.container):
        gates["wrong_extension"] = f"named {path.suffix}, is {decoded.container} inside"
    return gates


def slice_gates(gates: dict[str, str], clipped_samples: np.ndarray, start: int, end: int) -> list[str]:
    """The gates of a slice: those of its recording, with `clipped` only where the slice itself is."""
    clipped = bool(np.any((clipped_samples >= start) & (clipped_samples < end)))
    return sorted({gate for gate in gates if gate != "clipped"} | ({"clipped"} if clipped else set()))
