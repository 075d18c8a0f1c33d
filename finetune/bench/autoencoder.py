"""The autoencoder on real recordings that it was never trained on: are the hits where they were, and as they were?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import torch

from data_prep.rhythm.onsets import detect
from data_prep.sound.recording import SAMPLE_RATE, decode
from finetune.base_model import BaseModel
from finetune.bench.figures import Figure, Grid, Listening, Part
from finetune.evaluation.fidelity import log_mel_error_db, sdr_db
from finetune.evaluation.matching import Matching, match
from finetune.progress import progress_bar

TITLE = "Autoencoder on recordings it never heard"
FOLDERS = ("takes", "loops")
TOLERANCE_SECONDS = 0.025
EXCERPT_SECONDS = 4.0
HOP, WINDOW = 256, 1024


@dataclass(frozen=True)
class Reconstruction:
    """One file through the autoencoder and back. `woodshed` and `superflux` match its onsets by two detectors."""

    name: str
    kind: str
    seconds: float
    woodshed: Matching
    superflux: Matching
    sdr_db: float
    log_mel_error_db: float


Detector = Callable[[np.ndarray], list[float]]


def woodshed_onsets(sound: np.ndarray) -> list[float]:
    """Onset times in seconds of a (2, samples) sound by `data_prep.rhythm.onsets`."""
    return [onset.sample / SAMPLE_RATE for onset in detect(sound)[0]]


def superflux_onsets(sound: np.ndarray) -> list[float]:
    """The same by librosa with the settings of the superflux paper's example, and a threshold of .05."""
    mel = librosa.feature.melspectrogram(
        y=sound.mean(0), sr=SAMPLE_RATE, n_fft=WINDOW, hop_length=HOP, fmin=27.5, fmax=16_000, n_mels=138
    )
    level = librosa.power_to_db(mel, ref=np.max)
    envelope = librosa.onset.onset_strength(S=level, sr=SAMPLE_RATE, hop_length=HOP, lag=2, max_size=3)
    found = librosa.onset.onset_detect(
        onset_envelope=envelope, sr=SAMPLE_RATE, hop_length=HOP, delta=0.05, units="time"
    )
    return [float(time) for time in found]


def reconstruct(base: BaseModel, sound: np.ndarray) -> np.ndarray:
    """A (2, samples) float32 sound, encoded and decoded, at its own length."""
    latents = base.encode_audio(torch.from_numpy(np.ascontiguousarray(sound, np.float32))[None])
    return base.decode_latents(latents)[0, :, : sound.shape[1]].cpu().numpy()


def compare(name: str, kind: str, original: np.ndarray, copy: np.ndarray) -> Reconstruction:
    """All measures of one (2, samples) reconstruction at 44.1 kHz."""
    woodshed, superflux = (
        match(onsets(original), onsets(copy), TOLERANCE_SECONDS)
        for onsets in (woodshed_onsets, superflux_onsets)
    )
    return Reconstruction(
        name=name,
        kind=kind,
        seconds=original.shape[1] / SAMPLE_RATE,
        woodshed=woodshed,
        superflux=superflux,
        sdr_db=sdr_db(original, copy),
        log_mel_error_db=log_mel_error_db(original, copy, SAMPLE_RATE),
    )


def files(recordings: Path) -> list[tuple[str, Path]]:
    """(kind, path) of every take and loop below `recordings`."""
    return [(kind, path) for kind in FOLDERS for path in sorted((recordings / kind).glob("*.flac"))]


def benchmark(base: BaseModel, recordings: Path | None) -> Part:
    """The part `autoencoder`: every take and loop, and excerpts of each to hear; left out without recordings."""
    if recordings is None:
        return Part("autoencoder", TITLE, left_out="it needs real recordings; say --recordings FOLDER.")
    measured, listening = [], []
    heard = files(recordings)
    with progress_bar("Autoencoder", len(heard)) as report:
        for number, (kind, path) in enumerate(heard, start=1):
            original = decode(path).samples
            copy = reconstruct(base, original)
            measured.append(compare(path.stem, kind, original, copy))
            listening.append(_excerpt(measured[-1], original, copy))
            report(number, f"{path.stem}: F {measured[-1].woodshed.f:.3f}, SDR {measured[-1].sdr_db:.1f} dB")
    return Part(
        name="autoencoder",
        title=TITLE,
        figures=figures(measured),
        notes=NOTES,
        grids=[grid(measured)],
        details={"files": [_row(each) for each in measured]},
        listening=listening,
    )


NOTES = [
    "Onsets of the original and of the reconstruction, paired one to one within 25 ms. F is the harmonic mean of "
    "precision and recall, over the onsets of all files together; by Woodshed's own detector, and by librosa's "
    "superflux beside it.",
    "SDR is the energy of the original over that of the difference, sample by sample. Log-mel error is the mean "
    "absolute difference of 128 mel bands above -70 dB.",
]


def figures(measured: list[Reconstruction]) -> list[Figure]:
    """The pooled figures with their targets; means per file for each folder."""
    pooled = sum((each.woodshed for each in measured), Matching(0, 0, 0))
    other = sum((each.superflux for each in measured), Matching(0, 0, 0))
    found = [
        Figure("onset F at 25 ms, all files", pooled.f, at_least=0.95),
        Figure("precision, all files", pooled.precision),
        Figure("recall, all files", pooled.recall),
        Figure("onset F by superflux, all files", other.f),
    ]
    for kind in FOLDERS:
        of_kind = [each for each in measured if each.kind == kind]
        if not of_kind:
            continue
        wanted_sdr = 5.0 if kind == "takes" else None
        for name, unit, wanted, values in (
            ("onset F", "", None, [each.woodshed.f for each in of_kind]),
            ("onset F by superflux", "", None, [each.superflux.f for each in of_kind]),
            ("SDR", "dB", wanted_sdr, [each.sdr_db for each in of_kind]),
            ("log-mel error", "dB", None, [each.log_mel_error_db for each in of_kind]),
        ):
            found.append(Figure(f"{kind}: {name}, mean per file", float(np.mean(values)), unit, wanted))
    return found


def grid(measured: list[Reconstruction]) -> Grid:
    """The measures of every file."""
    head = ["file", "onset F", "precision", "recall", "F by superflux", "SDR, dB", "log-mel error, dB"]
    rows = [
        [
            each.name, f"{each.woodshed.f:.3f}", f"{each.woodshed.precision:.3f}", f"{each.woodshed.recall:.3f}",
            f"{each.superflux.f:.3f}", f"{each.sdr_db:.2f}", f"{each.log_mel_error_db:.2f}",
        ]
        for each in measured
    ]  # fmt: skip
    return Grid("Each file", head, rows)


def _row(each: Reconstruction) -> dict[str, object]:
    return {
        "file": each.name,
        "kind": each.kind,
        "seconds": round(each.seconds, 2),
        "onset_f": each.woodshed.f,
        "onset_precision": each.woodshed.precision,
        "onset_recall": each.woodshed.recall,
        "onset_f_superflux": each.superflux.f,
        "sdr_db": each.sdr_db,
        "log_mel_error_db": each.log_mel_error_db,
    }


def _excerpt(measured: Reconstruction, original: np.ndarray, copy: np.ndarray) -> Listening:
    """The beginning of the music, from half a second before its first hit."""
    onsets = woodshed_onsets(original)
    start = max(0, round(((onsets[0] if onsets else 0) - 0.5) * SAMPLE_RATE))
    part = slice(start, start + round(EXCERPT_SECONDS * SAMPLE_RATE))
    title = (
        f"{measured.name}: F {measured.woodshed.f:.3f}, SDR {measured.sdr_db:.1f} dB, "
        f"log-mel error {measured.log_mel_error_db:.1f} dB"
    )
    return Listening(title, {"original": original[:, part], "reconstruction": copy[:, part]})
