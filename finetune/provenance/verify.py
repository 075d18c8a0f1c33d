"""Proving what an adapter says of itself, check after check in the order of the road that it came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from finetune.errors import WoodshedError
from finetune.provenance.evidence import gather
from finetune.provenance.lineage import check_held_out, check_rights, find_record
from finetune.provenance.place import Place, find_place
from finetune.provenance.rebuilding import check_dataset, check_recordings
from finetune.provenance.results import Check, Verified, exit_code
from finetune.provenance.stated import check_base, check_recipe, check_signature, check_tensors
from finetune.provenance.training_set import TrainingSet


def verify(
    path: Path,
    dataset: Path | None = None,
    recordings: Path | None = None,
    trusted: str | None = None,
    base: str | None = None,
) -> list[Verified]:
    """Verify an adapter's file or folder, or all adapters of a run (`adapter` and `best`).

    `dataset` and `recordings` are the folders to compare with, `trusted` the fingerprint of the key that must have
    signed (None: this user's own), `base` where the base lies. WoodshedError where there is nothing to verify.
    """
    for folder, option in ((dataset, "--dataset"), (recordings, "--recordings")):
        if folder is not None and not folder.is_dir():
            raise WoodshedError(f"{option}: there is no folder '{folder}'.")
    folders = _Folders(dataset, recordings)
    return [_verify(place, folders, trusted, base) for place in places(path)]


def places(path: Path) -> Iterator[Place]:
    """The adapters that `path` means: itself, or those of a run."""
    of_run = [path / name for name in ("adapter", "best") if (path / name).is_dir()]
    if path.is_dir() and of_run and (path / "recipe.yaml").is_file():
        yield from map(find_place, of_run)
    else:
        yield find_place(path)


@dataclass
class _Folders:
    """The folders to compare with, each training set once: a run's adapters have the same one."""

    dataset: Path | None
    recordings: Path | None
    known: dict[str | None, list[Check]] = field(default_factory=dict)

    def checks(self, record: TrainingSet | None) -> list[Check]:
        key = record.claims()["training_set_sha256"] if record else None
        if key not in self.known:
            self.known[key] = [check_dataset(record, self.dataset), check_recordings(record, self.recordings)]
        return self.known[key]


def _verify(place: Place, folders: _Folders, trusted: str | None, base: str | None) -> Verified:
    evidence = gather(place)
    try:
        record, traced = find_record(evidence, folders.dataset)
        checks = [
            check_tensors(evidence),
            check_signature(evidence, trusted),
            check_base(evidence, base),
            check_recipe(evidence),
            traced,
            check_rights(evidence, record, folders.dataset),
            check_held_out(evidence, record),
            *folders.checks(record),
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        words = f"What is claimed is not in the form in which Woodshed claims it ({type(error).__name__}: {error})."
        checks = [check_tensors(evidence), Check("claims", "failed", words)]
    signer = evidence.envelope.key_id if evidence.envelope else None
    return Verified(str(place.path), int(exit_code(checks)), signer, checks)
