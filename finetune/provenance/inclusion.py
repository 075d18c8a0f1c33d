"""That one clip was in the training set, shown without the others: its leaf, the hashes beside its way to the root,
and the signed statement with that root."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import WoodshedError
from finetune.provenance import merkle
from finetune.provenance.canonical import canonical, file_sha256, read_object
from finetune.provenance.dsse import read_envelope
from finetune.provenance.evidence import Evidence, checked, gather
from finetune.provenance.lineage import find_record
from finetune.provenance.place import find_place
from finetune.provenance.results import Check
from finetune.provenance.signature import judged
from finetune.provenance.training_set import HELD_OUT, TRAIN, Row

FORMAT = "woodshed-inclusion-1"
LONGEST_PATH = 64  # hashes: a tree of 2⁶⁴ clips


@dataclass(frozen=True)
class Shown:
    """What a proof shows: the clip's own row, the root, who signed, and each thing that was checked."""

    clip: Row
    root: str
    signed_by: str | None
    checks: list[Check]


def prove_inclusion(path: Path, clip: str, dataset: Path | None = None) -> bytes:
    """The proof, a JSON file, that the clip with this id (or with the SHA-256 of its file) was trained on.

    WoodshedError where the adapter's training set is not at hand, or the clip not in it.
    """
    evidence = gather(find_place(path))
    record, check = find_record(evidence, dataset)
    if record is None or check.status == "failed":
        raise WoodshedError(f"Nothing can be proved of '{path}': {check.words}")
    trained = record.split(TRAIN)
    index = next((n for n, leaf in enumerate(trained) if clip in (leaf["id"], leaf["clip_sha256"])), None)
    if index is None:
        held_out = any(clip in (leaf["id"], leaf["clip_sha256"]) for leaf in record.split(HELD_OUT))
        why = "it was held out" if held_out else "no clip has this id, nor this SHA-256"
        raise WoodshedError(f"'{clip}' is not in the training set of '{path}': {why}.")
    beside = merkle.inclusion_path(record.hashes(TRAIN), index)
    proof = {
        "format": FORMAT,
        "clip": trained[index],
        "index": index,
        "size": len(trained),
        "path": [each.hex() for each in beside],
        "statement": _envelope(evidence),
    }
    return canonical(proof) + b"\n"


def check_inclusion(file: Path, trusted: str | None, wav: Path | None = None) -> Shown:
    """Check a proof by itself, and with `wav` that this is the clip's sound. WoodshedError for what is no proof."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise WoodshedError(f"'{file}' cannot be read: {error.strerror}.") from error
    proof = read_object(content, f"'{file}'")
    try:
        if proof["format"] != FORMAT or canonical(proof) + b"\n" != content:
            raise ValueError("it is not as Woodshed writes one")
        leaf, path = dict(proof["clip"]), [bytes.fromhex(each) for each in proof["path"]]
        index, size = int(proof["index"]), int(proof["size"])
        if len(path) > LONGEST_PATH or "id" not in leaf:
            raise ValueError("its path or its clip cannot be")
        envelope = read_envelope(base64.b64decode(proof["statement"], validate=True), "The statement in it")
        claims = checked(envelope.statement())["predicate"]["claims"]
        stated = claims["training_set"]
        found = merkle.root_of_path(merkle.leaf_hash(canonical(leaf)), index, size, path)
        holds = found is not None and found.hex() == stated["root"] and size == stated["clips"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WoodshedError(f"'{file}' is no proof of inclusion: {error}.") from error
    checks = [
        Check("member", "proved", f"{leaf['id']} is one of the {size} clips that were trained on.")
        if holds
        else Check(
            "member",
            "failed",
            f"{leaf['id']} does not lead to the stated root: the proof was changed.",
        ),
        judged(envelope, trusted, f"'{file}'"),
    ]
    if wav is not None:
        same = wav.is_file() and file_sha256(wav) == leaf.get("clip_sha256")
        words = f"'{wav}' is the sound of this clip." if same else f"'{wav}' is not the sound of this clip."
        checks.append(Check("sound", "proved" if same else "failed", words))
    return Shown(leaf, str(stated["root"]), envelope.key_id, checks)


def _envelope(evidence: Evidence) -> Any:
    if evidence.envelope is None:
        raise WoodshedError(
            f"'{evidence.place.path}' has no statement, so a proof could lead to nothing. Train or export "
            "again; `woodshed keys` makes the key to sign with."
        )
    return base64.b64encode(evidence.envelope.to_bytes()).decode()
