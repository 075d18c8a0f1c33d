"""What a run began with: of an adapter that goes on from another one, the training sets of that one too.

`began_with.json` in the run's folder names them; `inherited/ROOT/` holds their records, where they were at hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from finetune.adapter.formats import locate
from finetune.errors import WoodshedError
from finetune.files import write_file
from finetune.provenance.canonical import canonical, read_object
from finetune.provenance.place import claims_of, find_place
from finetune.provenance.training_set import LEAVES, RIGHTS, TRAIN, TrainingSet, read_record, write_record

BEGAN, INHERITED = "began_with.json", "inherited"
_ROOT = re.compile(r"[0-9a-f]{64}")


def read_beginning(run: Path) -> dict[str, Any] | None:
    """`{name, training_sets, known}` of what the run began with; None where it began with nothing."""
    file = run / BEGAN
    return read_object(file.read_bytes(), f"'{file}'") if file.is_file() else None


def record_beginning(run: Path, source: Path) -> None:
    """Note in `run` that it goes on from `source`: another run, or an adapter of any format.

    `known` says whether all that it learned from before is on record.
    """
    if (source / LEAVES).is_file():
        folder: Path | None = source
        before, roots, known = read_beginning(source), [read_record(source).root(TRAIN)], True
    else:
        folder, claims = _folder_and_claims(source)
        before, known = (claims or {}).get("began_with"), claims is not None
        roots = [claims["training_set"]["root"]] if claims else []
    if before:
        roots += before["training_sets"]
        known = known and before["known"]
    for root in roots:
        if folder and (found := find_inherited(folder, root)):
            write_record(run / INHERITED / root, found)
    name = source.name if source.name not in ("adapter", "best") else source.parent.name
    content = {"name": name, "training_sets": roots, "known": known}
    write_file(run / BEGAN, canonical(content) + b"\n")


def record_folder(place: Path) -> Path | None:
    """The folder of the run that an adapter lies in, by its record; None where there is none."""
    near = [place, *place.absolute().parents[:2]]
    return next(
        (folder for folder in near if (folder / LEAVES).is_file() and (folder / RIGHTS).is_file()), None
    )


def find_inherited(run: Path, root: str) -> TrainingSet | None:
    """The record with this root that a run keeps, its own or an inherited one; None where it keeps none."""
    if not _ROOT.fullmatch(root):
        return None
    for folder in (run, run / INHERITED / root):
        if (folder / LEAVES).is_file() and (folder / RIGHTS).is_file():
            try:
                found = read_record(folder)
            except WoodshedError:
                continue
            if found.root(TRAIN) == root:
                return found
    return None


def _folder_and_claims(source: Path) -> tuple[Path | None, dict[str, Any] | None]:
    """The record's folder of an adapter and what its header claims, as far as there are such."""
    try:
        place = locate(source)[1]
        return record_folder(place), claims_of(find_place(place))
    except WoodshedError:  # a run of before that has nothing but checkpoints
        return None, None
