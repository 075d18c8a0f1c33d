"""Checks of the training set: that it is the one stated, that every clip leads to a recording with rights, and that
nothing held out was trained on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from data_prep.files import PrepError
from data_prep.ownership.rights import Basis, Rights
from data_prep.ownership.withdrawn import read_withdrawn, why
from finetune.errors import WoodshedError
from finetune.provenance.ancestry import find_inherited
from finetune.provenance.canonical import sha256
from finetune.provenance.evidence import Evidence
from finetune.provenance.results import RIGHTS, Check, some
from finetune.provenance.training_set import HELD_OUT, TRAIN, Row, TrainingSet, read_dataset, read_record

_SHA256 = re.compile(r"[0-9a-f]{64}")


def find_record(evidence: Evidence, dataset: Path | None) -> tuple[TrainingSet | None, Check]:
    """The training set that is stated, from the run or else from the dataset, and what there is to say of it."""
    name = "recordings"
    if evidence.claims is None:
        return None, Check(name, "incomplete", "It does not say which clips it was trained on.")
    stated = evidence.claims["training_set"]
    where = evidence.run or dataset
    if where is None:
        words = (
            "The clips are stated by their root alone; give the run's folder, or the dataset with --dataset."
        )
        return None, Check(name, "incomplete", words)
    try:
        record = read_record(where) if evidence.run else read_dataset(where)
        claims = record.claims()
        on_disk = _files(where) if evidence.run else {key: claims[key] for key in _FILE_KEYS}
        summary = record.rights_summary()
    except WoodshedError as error:
        return None, Check(name, "failed", str(error))
    if {**claims, **on_disk} != stated or summary != evidence.claims["rights"]:
        words = f"The training set in '{where}' is not the one that was stated: its clips, rights or hashes differ."
        return None, Check(name, "failed", words)
    return record, _traced(record, name)


def _traced(record: TrainingSet, name: str) -> Check:
    trained = record.split(TRAIN)
    lost = [leaf["id"] for leaf in trained if not _leads_to_a_recording(leaf)]
    if lost:
        words = (
            f"{len(lost)} clips do not say from which sound of which recording they were cut: {some(lost)}."
        )
        return Check(name, "incomplete", words)
    count = len({leaf["pcm_sha256"] for leaf in trained})
    words = f"Each of {len(trained)} clips leads to one of {count} recordings; their Merkle root is the one stated."
    return Check(name, "proved", words)


_FILE_KEYS = ("training_set_sha256", "rights_sha256")


def _files(run: Path) -> dict[str, str]:
    return {key: sha256((run / f"{key.removesuffix('_sha256')}.jsonl").read_bytes()) for key in _FILE_KEYS}


def _leads_to_a_recording(leaf: Row) -> bool:
    start, end = leaf.get("start_sample"), leaf.get("end_sample")
    return (
        bool(leaf.get("recording"))
        and bool(_SHA256.fullmatch(str(leaf.get("pcm_sha256"))))
        and isinstance(start, int)
        and isinstance(end, int)
        and 0 <= start < end
    )


def check_rights(evidence: Evidence, record: TrainingSet | None, dataset: Path | None) -> Check:
    """Every clip, also of what the adapter began with, under a right that allows it and was not withdrawn."""
    if record is None:
        return Check(RIGHTS, "incomplete", "Without the clips nothing shows by what right each was used.")
    began = (evidence.claims or {}).get("began_with") or {"training_sets": [], "known": True}
    before = [evidence.run and find_inherited(evidence.run, root) for root in began["training_sets"]]
    try:
        withdrawn: dict[str, Row] = {}
        for folder in (evidence.run, dataset):
            withdrawn |= read_withdrawn(folder) if folder else {}
        for each in [record, *(found for found in before if found)]:
            faults = list(rights_faults(each, withdrawn))
            if faults:
                return Check(
                    RIGHTS, "failed", f"{len(faults)} clips without a right to use them: {some(faults, 2)}."
                )
    except (PrepError, WoodshedError) as error:
        return Check(RIGHTS, "failed", str(error))
    if not began["known"] or not all(before):
        words = (
            f"It goes on from '{began.get('name')}', and of what that learned there is no whole record here."
        )
        return Check(RIGHTS, "incomplete", words)
    bases = evidence.claims["rights"]["bases"] if evidence.claims else {}
    said = ", ".join(
        f"{basis} ({each['clips']} clips, {each['minutes']:g} min)" for basis, each in bases.items()
    )
    return Check(RIGHTS, "proved", f"Every clip was used by a stated right: {said}.")


def rights_faults(record: TrainingSet, withdrawn: Mapping[str, Row]) -> Iterable[str]:
    """A few words for each training clip that may not be used."""
    statements = record.statements()
    for leaf in record.split(TRAIN):
        row, line = statements.get(str(leaf["rights"]), (None, b""))
        if gone := withdrawn.get(str(leaf.get("pcm_sha256"))):
            yield f"{leaf['id']} ({leaf['recording']} was {why(gone)})"
        elif row is None:
            yield f"{leaf['id']} (nothing is stated of the rights in {leaf['recording']})"
        elif sha256(line) != leaf.get("rights_sha256"):
            yield f"{leaf['id']} (it was used under another statement of rights than {leaf['rights']})"
        elif fault := statement_fault(row):
            yield f"{leaf['id']} ({fault})"


def statement_fault(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a row of rights.jsonl; None where it allows learning from the recording."""
    try:
        said: dict[str, Any] = {each.name: row.get(each.name) for each in fields(Rights)}
        said["basis"] = Basis(str(row.get("basis")))
        key = Rights(**said).key
    except (ValueError, TypeError, AttributeError):
        return f"the statement {row.get('rights')} names no right that allows it"
    return (
        None
        if key == row.get("rights")
        else f"the statement {row.get('rights')} does not say what its key says"
    )


def check_held_out(evidence: Evidence, record: TrainingSet | None) -> Check:
    """No recording, and no sound, on both sides; nor among what the adapter began with."""
    name = "held out"
    if record is None:
        return Check(
            name, "incomplete", "Without the clips nothing shows that none of those held out was trained on."
        )
    held_out = record.split(HELD_OUT)
    began = (evidence.claims or {}).get("began_with") or {"training_sets": []}
    inherited = [evidence.run and find_inherited(evidence.run, root) for root in began["training_sets"]]
    trained = [leaf for each in [record, *inherited] if each for leaf in each.split(TRAIN)]
    seen = {sound for leaf in trained for sound in _sounds(leaf)}
    both = [leaf["id"] for leaf in held_out if seen & _sounds(leaf)]
    if both:
        words = f"{len(both)} clips that are said to be held out are of recordings that were trained on: {some(both)}."
        return Check(name, "failed", words)
    if held_out and not all(inherited):
        return Check(
            name, "incomplete", f"What '{began.get('name')}' was trained on is not at hand to compare."
        )
    words = f"None of {len(held_out)} clips held out, nor their recordings, was trained on."
    return Check(name, "proved", words if held_out else "Nothing was held out.")


def _sounds(leaf: Row) -> set[str]:
    return {str(leaf[key]) for key in ("pcm_sha256", "clip_sha256") if leaf.get(key)}
