"""Reading a dataset folder: the clips of `manifest.jsonl`, strictly. All that finetune knows of data_prep."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MANIFEST = "manifest.jsonl"
SAMPLE_RATE = 44_100
SPLITS = ("train", "validation", "left_out")


class DatasetError(Exception):
    """A sentence: which row of which manifest is wrong, and the cure."""


@dataclass(frozen=True)
class Clip:
    """One slice. `path` is its WAV (44.1 kHz stereo), `text` the canonical caption and the first of `captions`,
    `recording` the path of its recording below the library, `recording_seconds` that recording's whole length."""

    id: str
    split: str
    path: Path
    clip_sha256: str
    text: str
    captions: tuple[str, ...]
    seconds: float
    recording: str
    recording_seconds: float


def clips(dataset: Path, split: str | None = None) -> list[Clip]:
    """The clips of a split in the order of the manifest; without `split`, those of train and validation.

    DatasetError for a folder that is no dataset and for any row that is not as it should be.
    """
    dataset = Path(dataset)
    manifest = dataset / MANIFEST
    if split is not None and split not in SPLITS:
        raise DatasetError(f"There is no split {split!r}; the splits are {', '.join(SPLITS)}.")
    if not manifest.is_file():
        raise DatasetError(f"{dataset} has no {MANIFEST}: make it with `woodshed prep RECORDINGS {dataset}`.")
    wanted = (split,) if split else SPLITS[:2]
    found: list[Clip] = []
    seen: set[str] = set()
    for number, line in enumerate(manifest.read_text("utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        clip = _clip(dataset, line, f"{manifest}, row {number}")
        if clip.id in seen:
            raise DatasetError(f"{manifest}, row {number}: the id {clip.id} is there twice; run prep again.")
        seen.add(clip.id)
        if clip.split in wanted:
            found.append(clip)
    return found


def read_audio(path: Path) -> np.ndarray:
    """A clip as float32 (2, samples) at 44.1 kHz; DatasetError where the file is not that."""
    import numpy as np
    import soundfile

    try:
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise DatasetError(f"{path} cannot be read as audio; run prep again to rebuild it.") from error
    if sample_rate != SAMPLE_RATE or samples.shape[1] != 2:
        raise DatasetError(
            f"{path} is {sample_rate} Hz with {samples.shape[1]} channels; a clip is 44100 Hz stereo. Run prep again."
        )
    return np.ascontiguousarray(samples.T)


def _clip(dataset: Path, line: str, where: str) -> Clip:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"{where}: not valid JSON ({error.msg}); mend the line or run prep again."
        ) from error
    if not isinstance(row, dict):
        raise DatasetError(f"{where}: a row is a JSON object in braces; run prep again.")
    name, split = _text(row, "id", where), _text(row, "split", where)
    if split not in SPLITS:
        raise DatasetError(f"{where}: the split {split!r} is none of {', '.join(SPLITS)}; run prep again.")
    text = _text(row, "text", where)
    captions = row.get("captions") or [text]
    if not isinstance(captions, list) or not all(isinstance(each, str) and each.strip() for each in captions):
        raise DatasetError(f"{where}: one of the captions of {name} is empty; write it or delete it.")
    return Clip(
        id=name,
        split=split,
        path=_audio_path(dataset, split, name, where),
        clip_sha256=_text(row, "clip_sha256", where),
        text=text,
        captions=tuple(captions),
        seconds=_seconds(row, "seconds", where),
        recording=_text(row, "recording", where),
        recording_seconds=_seconds(row, "recording_seconds", where),
    )


def _audio_path(dataset: Path, split: str, name: str, where: str) -> Path:
    path = dataset / split / f"{name}.wav"
    if not path.resolve().is_relative_to(dataset.resolve()):
        raise DatasetError(f"{where}: the id {name!r} leads out of the dataset folder; run prep again.")
    if not path.is_file():
        raise DatasetError(f"{where}: {split}/{name}.wav is not there; run prep again to rebuild it.")
    return path


def _text(row: dict[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        what = "the caption (text) is empty" if key == "text" else f"{key} is missing"
        raise DatasetError(f"{where}: {what}; write one, or run prep again.")
    return value


def _seconds(row: dict[str, Any], key: str, where: str) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise DatasetError(f"{where}: {key} is {value!r}, not a length above 0; run prep again.")
    return float(value)
