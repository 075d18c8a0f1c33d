"""The training set as it is proved: one leaf for each clip, their Merkle roots, and the statements of rights.

A run keeps it in `training_set.jsonl` and `rights.jsonl`; an adapter carries the roots and a summary alone. Each leaf
holds a salt, so that from a hash that a proof of inclusion shows beside it nobody finds out what another clip was,
not even with that recording in hand. It is drawn from all clips together: who does not have all of them cannot
compute it, and the same dataset gives the same roots.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.dataset import MANIFEST, Clip
from finetune.errors import WoodshedError
from finetune.files import write_file
from finetune.provenance import merkle
from finetune.provenance.canonical import canonical, file_sha256, read_object, sha256

LEAVES, RIGHTS = "training_set.jsonl", "rights.jsonl"
TRAIN, HELD_OUT = "train", "validation"
_OF_ROW = (
    "id", "split", "clip_sha256", "recording", "pcm_sha256", "sample_rate", "start_sample", "end_sample",
    "fade_in_samples", "fade_out_samples", "gain_db", "seconds", "text", "rights",
)  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class TrainingSet:
    """`leaves` of both splits by id; `rights` are the lines of the dataset's rights.jsonl that they name."""

    leaves: list[Row]
    rights: list[bytes]

    def statements(self) -> dict[str, tuple[Row, bytes]]:
        """Key -> the statement of rights, and its line."""
        rows = [(read_object(line, "A statement of rights"), line) for line in self.rights]
        return {str(row.get("rights")): (row, line) for row, line in rows}

    def split(self, name: str) -> list[Row]:
        return [leaf for leaf in self.leaves if leaf["split"] == name]

    def hashes(self, split: str) -> list[bytes]:
        return [merkle.leaf_hash(canonical(leaf)) for leaf in self.split(split)]

    def root(self, split: str) -> str:
        return merkle.root(self.hashes(split)).hex()

    def files(self) -> dict[str, bytes]:
        return {LEAVES: _lines(map(canonical, self.leaves)), RIGHTS: _lines(self.rights)}

    def claims(self) -> Row:
        """What an adapter says of it: roots, counts, the hashes of the two files, and no clip."""
        trained, held_out = self.split(TRAIN), self.split(HELD_OUT)
        return {
            "root": self.root(TRAIN),
            "clips": len(trained),
            "recordings": len({_recording(leaf) for leaf in trained}),
            "minutes": _minutes(trained),
            "held_out_root": self.root(HELD_OUT),
            "held_out_clips": len(held_out),
            **{f"{Path(name).stem}_sha256": sha256(content) for name, content in self.files().items()},
        }

    def rights_summary(self) -> Row:
        """Of the training clips: by basis how many and how long, the licences and the restrictions, those of which
        nothing is known. No name of a person."""
        statements = {key: row for key, (row, _) in self.statements().items()}
        by_basis: dict[str, list[Row]] = defaultdict(list)
        unknown = 0
        for leaf in self.split(TRAIN):
            statement = statements.get(leaf["rights"])
            if statement is None:
                unknown += 1
            else:
                by_basis[str(statement.get("basis"))].append(leaf)
        used = [statements[leaf["rights"]] for leaves in by_basis.values() for leaf in leaves]
        return {
            "bases": {
                basis: {
                    "clips": len(leaves),
                    "recordings": len({_recording(leaf) for leaf in leaves}),
                    "minutes": _minutes(leaves),
                }
                for basis, leaves in sorted(by_basis.items())
            },
            "licences": sorted({str(row["licence"]) for row in used if row.get("licence")}),
            "restrictions": sorted({str(row["restrictions"]) for row in used if row.get("restrictions")}),
            "clips_without_rights": unknown,
        }


def read_dataset(dataset: Path) -> TrainingSet:
    """The training set of a dataset folder as it is now. WoodshedError where its files cannot be read."""
    rows = [row for row in _read_rows(dataset / MANIFEST) if row[0].get("split") in (TRAIN, HELD_OUT)]
    statements = _read_rows(dataset / RIGHTS) if (dataset / RIGHTS).is_file() else []
    rights = {str(row.get("rights")): line for row, line in statements}
    bare = [
        {name: row.get(name) for name in _OF_ROW}
        | {"rights_sha256": _hash(rights.get(str(row.get("rights")))), "row_sha256": sha256(line)}
        for row, line in sorted(rows, key=lambda each: str(each[0].get("id")))
    ]
    named = {str(leaf["rights"]) for leaf in bare}
    return TrainingSet(_salted(bare), [rights[key] for key in sorted(rights.keys() & named)])


def check_sounds(clips: Iterable[Clip]) -> None:
    """Raise WoodshedError for a clip whose file is not the one that the manifest names: no claim on it would hold."""
    for clip in clips:
        try:
            found = file_sha256(clip.path)
        except OSError as error:
            raise WoodshedError(f"'{clip.path}' cannot be read: {error.strerror}.") from error
        if found != clip.clip_sha256:
            raise WoodshedError(
                f"'{clip.path}' is not the sound that {MANIFEST} names (its SHA-256 is {found[:12]}… and not "
                f"{clip.clip_sha256[:12]}…). Delete the file and run `woodshed prep` again, which cuts it anew."
            )


def read_record(folder: Path) -> TrainingSet:
    """What a run's folder keeps. WoodshedError where it is no whole record."""
    leaves = [row for row, _ in _read_rows(folder / LEAVES)]
    for leaf in leaves:
        if (
            not isinstance(leaf.get("id"), str)
            or leaf.get("split") not in (TRAIN, HELD_OUT)
            or "rights" not in leaf
        ):
            raise WoodshedError(f"'{folder / LEAVES}' holds a row that is no clip of a training set.")
    return TrainingSet(leaves, [line for _, line in _read_rows(folder / RIGHTS)])


def write_record(folder: Path, training_set: TrainingSet) -> None:
    for name, content in training_set.files().items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            write_file(path, content)


def changed_rows(recorded: TrainingSet, now: TrainingSet) -> list[str]:
    """Ids of the clips that one has and the other has not, or has otherwise; their salts are not compared."""
    one, other = ({leaf["id"]: _bare(leaf) for leaf in each.leaves} for each in (recorded, now))
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _salted(leaves: list[Row]) -> list[Row]:
    secret = hashlib.sha256(b"woodshed salt 1\0" + b"\n".join(canonical(leaf) for leaf in leaves)).digest()
    return [
        leaf | {"salt": hmac.digest(secret, canonical([leaf["split"], leaf["id"]]), "sha256").hex()}
        for leaf in leaves
    ]


def _bare(leaf: Mapping[str, Any]) -> Row:
    return {name: value for name, value in leaf.items() if name != "salt"}


def _hash(line: bytes | None) -> str | None:
    return None if line is None else sha256(line)


def _read_rows(path: Path) -> list[tuple[Row, bytes]]:
    """Each row with its line."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise WoodshedError(f"'{path}' cannot be read: {error.strerror}.") from error
    return [
        (read_object(line, f"'{path}', line {number}"), line)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]


def _lines(lines: Iterable[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)


def _recording(leaf: Row) -> str:
    return str(leaf["pcm_sha256"] or leaf["recording"])


def _minutes(leaves: Iterable[Row]) -> float:
    return round(sum(float(leaf["seconds"] or 0) for leaf in leaves) / 60, 2)
