"""Checks against the folders: the dataset as it is now, and the slices cut again from the original recordings."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from data_prep.files import PrepError
from data_prep.ownership.withdrawn import read_withdrawn
from data_prep.slicing.clip import clip_of
from data_prep.sound.recording import RecordingFault, decode
from finetune.errors import WoodshedError
from finetune.progress import progress_bar
from finetune.provenance.canonical import file_sha256
from finetune.provenance.results import Check, some
from finetune.provenance.training_set import Row, TrainingSet, changed_rows, read_dataset


def check_dataset(record: TrainingSet | None, dataset: Path | None) -> Check:
    """The manifest and the rights line for line, and each WAV against its hash."""
    name = "slices"
    if dataset is None:
        return Check(name, "not asked", "The dataset was not given (--dataset).")
    if record is None:
        return Check(name, "incomplete", "There is no record of the clips to compare the dataset with.")
    try:
        gone = read_withdrawn(dataset)
        left = [leaf for leaf in record.leaves if leaf["pcm_sha256"] not in gone]  # prep took the others out
        taken = {leaf["id"] for leaf in record.leaves} - {leaf["id"] for leaf in left}
        changed = [name for name in changed_rows(record, read_dataset(dataset)) if name not in taken]
    except (WoodshedError, PrepError) as error:
        return Check(name, "failed", str(error))
    if changed:
        words = f"Manifest or rights in '{dataset}' say other things of {len(changed)} clips than when it was trained"
        return Check(
            name,
            "failed",
            f"{words}: {some(changed)}. They were changed since, by a review, prep or another hand.",
        )
    bad = [leaf["id"] for leaf in left if not _is_there(dataset, leaf)]
    if bad:
        return Check(
            name,
            "failed",
            f"{len(bad)} slices in '{dataset}' are not those that were trained on: {some(bad)}.",
        )
    without = f", but for {len(taken)} of recordings that were withdrawn" if taken else ""
    words = f"All {len(left)} slices in '{dataset}', and its manifest and rights, are those{without}."
    return Check(name, "proved", words)


def _is_there(dataset: Path, leaf: Row) -> bool:
    path = dataset / leaf["split"] / f"{leaf['id']}.wav"
    below = path.resolve().is_relative_to(dataset.resolve())
    return below and path.is_file() and file_sha256(path) == leaf["clip_sha256"]


def check_recordings(record: TrainingSet | None, recordings: Path | None) -> Check:
    """Every slice cut again from its recording; each recording is decoded once."""
    name = "originals"
    if recordings is None:
        return Check(name, "not asked", "The recordings were not given (--recordings).")
    if record is None:
        return Check(name, "incomplete", "There is no record of the clips to cut again.")
    by_recording: dict[str, list[Row]] = defaultdict(list)
    for leaf in record.leaves:
        by_recording[str(leaf["recording"])].append(leaf)
    missing: list[str] = []
    with progress_bar("Cutting again", len(by_recording)) as report:
        for number, (recording, leaves) in enumerate(sorted(by_recording.items()), 1):
            path = recordings / recording
            if not path.resolve().is_relative_to(recordings.resolve()) or not path.is_file():
                missing.append(recording)
            elif fault := _fault(path, leaves):
                return Check(name, "failed", fault)
            report(number, recording)
    if missing:
        return Check(
            name, "incomplete", f"{len(missing)} recordings are not in '{recordings}': {some(missing)}."
        )
    words = f"All {len(record.leaves)} slices, cut again from {len(by_recording)} recordings, are those bit for bit."
    return Check(name, "proved", words)


def _fault(path: Path, leaves: list[Row]) -> str | None:
    try:
        decoded = decode(path)
        if any(leaf["pcm_sha256"] != decoded.pcm_sha256 for leaf in leaves):
            return f"'{path}' is not the recording that was trained on: its sound is another."
        for leaf in leaves:
            clip_of(leaf, decoded)
    except RecordingFault as fault:
        return f"'{path}': {fault.reason}."
    except PrepError as error:
        return str(error)
    except (KeyError, TypeError, ValueError) as error:
        return f"A slice of '{path}' has no span that could be cut again ({error})."
    return None
