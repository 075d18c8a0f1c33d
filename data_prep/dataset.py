"""Reading a dataset folder: the clips of `manifest.jsonl`, strictly. All that finetune knows of data_prep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.captioning.captions import variants
from data_prep.files import PrepError, read_json_lines
from data_prep.ownership.withdrawn import read_withdrawn, why
from data_prep.review.journal import JOURNAL, read_journal, replay
from data_prep.rhythm.bar_lines import Bars, find_bars

if TYPE_CHECKING:
    import numpy as np

MANIFEST, RECORDINGS = "manifest.jsonl", "recordings.jsonl"
SAMPLE_RATE = 44_100
SPLITS = ("train", "validation", "left_out")


class DatasetError(Exception):
    """A sentence: which row of which manifest is wrong, and the cure."""


@dataclass(frozen=True)
class Clip:
    """One slice. `path` is its WAV (44.1 kHz stereo), `text` the canonical caption and the first of `captions`,
    `recording` the path of its recording below the library, `recording_seconds` that recording's whole length. `facts`
    are what captions are composed from, `bars` where its bars begin; both as far as they are known. `reviewed`: a
    person has looked at it."""

    id: str
    split: str
    path: Path
    clip_sha256: str
    text: str
    captions: tuple[str, ...]
    seconds: float
    recording: str
    recording_seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)
    bars: Bars | None = None
    reviewed: bool = False


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
    _check_reviews(dataset)
    wanted = (split,) if split else SPLITS[:2]
    recordings = _recordings(dataset / RECORDINGS)
    withdrawn = _withdrawn(dataset)
    found: list[Clip] = []
    seen: set[str] = set()
    for number, line in enumerate(manifest.read_text("utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        clip = _clip(dataset, line, recordings, f"{manifest}, row {number}")
        if clip.id in seen:
            raise DatasetError(f"{manifest}, row {number}: the id {clip.id} is there twice; run prep again.")
        seen.add(clip.id)
        if clip.split in wanted:
            _check_not_withdrawn(clip, withdrawn.get(str(json.loads(line).get("pcm_sha256"))))
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


def wordings(clip: Clip, count: int) -> tuple[str, ...]:
    """Up to `count` captions composed from the facts of a clip, without a trigger, the one with all of them first.

    The clip's own captions where a person has looked at them, or nothing is known. DatasetError for facts that make
    no caption.
    """
    if clip.reviewed or not clip.facts:
        return clip.captions
    try:
        return variants(clip.facts, None, count)
    except (TypeError, ValueError, AttributeError) as error:
        raise DatasetError(
            f"The fields of {clip.id} make no caption ({error}); mend its row in {MANIFEST}, or run prep again."
        ) from error


def _check_reviews(dataset: Path) -> None:
    """DatasetError where the manifest does not hold yet what a person decided: a rejected slice is not trained on."""
    if not (dataset / JOURNAL).is_file():
        return
    try:
        _, _, waiting = replay(read_json_lines(dataset / MANIFEST), [], read_journal(dataset))
    except PrepError as error:
        raise DatasetError(str(error)) from error
    except (ValueError, KeyError, TypeError):
        return  # a row that is not as it should be: who reads it says which
    if waiting:
        raise DatasetError(
            f"{len(waiting)} reviews of {dataset} are not in its {MANIFEST} yet. If the page is open, wait a second; "
            f"if it ended abruptly, run `woodshed review {dataset}` once, or prep again."
        )


def _withdrawn(dataset: Path) -> dict[str, dict[str, Any]]:
    try:
        return read_withdrawn(dataset)
    except PrepError as error:
        raise DatasetError(str(error)) from error


def _check_not_withdrawn(clip: Clip, gone: dict[str, Any] | None) -> None:
    if gone is not None:
        raise DatasetError(
            f"{clip.recording} was {why(gone)}; {clip.id} is cut from it. Run `woodshed prep` again: it leaves it out."
        )


def _recordings(file: Path) -> dict[str, dict[str, Any]]:
    """The rows of recordings.jsonl by the recording's name; empty where a dataset has none."""
    if not file.is_file():
        return {}
    lines = enumerate(file.read_text("utf-8").split("\n"), start=1)
    rows = [_row(line, f"{file}, row {number}") for number, line in lines if line.strip()]
    return {str(row.get("recording")): row for row in rows}


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DatasetError(
            f"{where}: not valid JSON ({error.msg}); mend the line or run prep again."
        ) from error
    if not isinstance(row, dict):
        raise DatasetError(f"{where}: a row is a JSON object in braces; run prep again.")
    return row


def _clip(dataset: Path, line: str, recordings: dict[str, dict[str, Any]], where: str) -> Clip:
    row = _row(line, where)
    name, split = _text(row, "id", where), _text(row, "split", where)
    if split not in SPLITS:
        raise DatasetError(f"{where}: the split {split!r} is none of {', '.join(SPLITS)}; run prep again.")
    text = _text(row, "text", where)
    captions = row.get("captions") or [text]
    if not isinstance(captions, list) or not all(isinstance(each, str) and each.strip() for each in captions):
        raise DatasetError(f"{where}: one of the captions of {name} is empty; write it or delete it.")
    fields = row.get("fields") or {}
    if not isinstance(fields, dict) or not all(isinstance(fact, dict) for fact in fields.values()):
        raise DatasetError(f"{where}: a field of {name} is no fact with a value; run prep again.")
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
        facts={key: fact.get("value") for key, fact in fields.items() if fact.get("source") != "default"},
        bars=find_bars(row, recordings.get(str(row["recording"]), {})),
        reviewed=row.get("reviewed") is True,
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
