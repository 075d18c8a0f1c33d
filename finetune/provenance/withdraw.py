"""Withdrawing a recording: marked where it would be used again, and every adapter named that learned from it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_prep.dataset import MANIFEST, RECORDINGS
from data_prep.dataset_lock import dataset_lock
from data_prep.files import read_json_lines
from data_prep.ownership.withdrawn import mark_withdrawn, read_withdrawn
from data_prep.sound.recording import RecordingFault, decode
from finetune.adapter.formats.peft import CONFIG, PARTS, WEIGHTS
from finetune.errors import WoodshedError
from finetune.provenance.ancestry import record_folder
from finetune.provenance.describe import describe
from finetune.provenance.place import IN_FOLDER, cards, find_place
from finetune.provenance.training_set import LEAVES, TRAIN, read_record

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_ADAPTERS = ("checkpoints", ".cache", "wandb")


@dataclass(frozen=True)
class Contains:
    """An adapter that learned from the recording; `key_id` signed it."""

    path: str
    key_id: str | None


@dataclass(frozen=True)
class Withdrawal:
    """`clips` of the dataset are cut from it, `runs` were marked, `unknown` are adapters of Woodshed of which nothing
    here says what they learned from; `before` that it had been withdrawn already, on `date`."""

    recording: str
    pcm_sha256: str
    date: str
    reason: str | None
    before: bool
    clips: int
    runs: list[str]
    contains: list[Contains]
    unknown: list[str]


def withdraw(recording: str, dataset: Path, folders: Sequence[Path], reason: str | None = None) -> Withdrawal:
    """Withdraw a recording (its name in the dataset, its file, or the SHA-256 of its sound) and look through `folders`.

    WoodshedError where it cannot be told which is meant; PrepError where the dataset is in use.
    """
    if not (dataset / MANIFEST).is_file():
        raise WoodshedError(f"'{dataset}' is no dataset: it has no {MANIFEST}. Name it with --dataset.")
    for folder in folders:
        if not folder.is_dir():
            raise WoodshedError(f"--runs: there is no folder '{folder}'.")
    name, pcm = find_recording(recording, dataset)
    row = {
        "recording": name,
        "pcm_sha256": pcm,
        "date": datetime.now(UTC).date().isoformat(),
        "reason": reason,
    }
    with dataset_lock(dataset):
        new = mark_withdrawn(dataset, row)
        row = read_withdrawn(dataset)[pcm]
    trained, roots = _records(folders, pcm)
    contains, unknown = _adapters(folders, roots)
    inherited = [run for each in contains if (run := record_folder(Path(each.path)))]
    runs = sorted({run.absolute() for run in [*trained, *inherited]})
    for run in runs:
        mark_withdrawn(run, row)
    clips = sum(
        each.get("pcm_sha256") == pcm and each.get("split") != "left_out"
        for each in read_json_lines(dataset / MANIFEST)
    )
    return Withdrawal(
        name,
        pcm,
        str(row["date"]),
        row.get("reason"),
        not new,
        clips,
        [str(run) for run in runs],
        contains,
        unknown,
    )


def find_recording(recording: str, dataset: Path) -> tuple[str, str]:
    """Name and PCM hash of the recording that is meant."""
    rows = [*read_json_lines(dataset / RECORDINGS), *read_json_lines(dataset / MANIFEST)]
    rows += read_withdrawn(dataset).values()
    known = {str(row["recording"]): str(row["pcm_sha256"]) for row in rows if row.get("pcm_sha256")}
    if recording in known:
        return recording, known[recording]
    if _SHA256.fullmatch(recording.lower()):
        pcm = recording.lower()
        return next((name for name, each in known.items() if each == pcm), "unknown"), pcm
    if Path(recording).is_file():
        try:
            return Path(recording).name, decode(Path(recording)).pcm_sha256
        except RecordingFault as fault:
            raise WoodshedError(f"'{recording}' cannot be read: {fault.reason}.") from fault
    alike = sorted(name for name in known if Path(name).name == Path(recording).name)
    if len(alike) == 1:
        return alike[0], known[alike[0]]
    which = f"; there are {', '.join(alike)}: say which" if alike else ""
    raise WoodshedError(
        f"No recording of '{dataset}' is called '{recording}', nor is there such a file{which}."
    )


def _records(folders: Sequence[Path], pcm: str) -> tuple[list[Path], dict[str, bool]]:
    """The runs that trained on it, and of every training set on record: root -> whether it is in it."""
    runs, roots = [], {}
    for folder in folders:
        for file in sorted(folder.rglob(LEAVES)):
            try:
                record = read_record(file.parent)
            except WoodshedError:
                continue  # an adapter of it is among the unknown
            inside = any(leaf.get("pcm_sha256") == pcm for leaf in record.split(TRAIN))
            roots[record.root(TRAIN)] = inside
            if inside and (file.parent / "recipe.yaml").is_file():
                runs.append(file.parent)
    return runs, roots


def _adapters(folders: Sequence[Path], roots: dict[str, bool]) -> tuple[list[Contains], list[str]]:
    contains, unknown = [], []
    for path in dict.fromkeys(path for folder in folders for path in _places(folder)):
        try:
            if not cards(find_place(path)):
                continue  # of another maker
            seen = describe(path)
        except WoodshedError:
            unknown.append(str(path))
            continue
        claims: dict[str, Any] = seen.claims or {}
        began = claims.get("began_with") or {"training_sets": [], "known": True}
        learned = [claims["training_set"]["root"], *began["training_sets"]] if claims else []
        if any(roots.get(root) for root in learned):
            contains.append(Contains(str(path), seen.key_id))
        elif not learned or not began["known"] or any(root not in roots for root in learned):
            unknown.append(str(path))
    return contains, unknown


def _places(folder: Path) -> Iterator[Path]:
    """Adapter folders and files below a folder, each once."""
    for file in sorted(folder.rglob("*.safetensors")):
        inside = file.relative_to(folder).parts[:-1]
        if any(part in _NOT_ADAPTERS or part.startswith(".") for part in inside):
            continue
        above = next((each for each in file.parents[: len(inside) + 1] if (each / IN_FOLDER).is_file()), None)
        if above:
            yield above
        elif file.name == WEIGHTS and (file.parent / CONFIG).is_file():
            yield file.parent.parent if file.parent.name in PARTS else file.parent
        else:
            yield file
