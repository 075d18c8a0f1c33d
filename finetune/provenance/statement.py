"""The statement beside an adapter: an in-toto statement (v1) whose subjects are its files and whose predicate is what
its header says, with the day, the program and the signer."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from finetune.adapter.formats.tensor_hash import file_tensor_hash
from finetune.errors import WoodshedError
from finetune.files import write_file
from finetune.progress import say
from finetune.provenance.canonical import canonical, file_sha256
from finetune.provenance.dsse import Envelope, sign
from finetune.provenance.keys import key_id, raw_public, read_key
from finetune.provenance.place import Place, claims_of, find_place

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:woodshed:adapter-provenance:1"
TENSORS_DIGEST = "woodshedTensorsV1"  # tensor_hash.py, beside the file's own sha256


def subjects(place: Place) -> list[dict[str, Any]]:
    """Each file with its SHA-256, and of safetensors files the hash of their tensors."""
    found = []
    for name in place.files:
        digest = {"sha256": file_sha256(place.root / name)}
        if name.endswith(".safetensors"):
            digest[TENSORS_DIGEST] = file_tensor_hash(place.root / name)
        found.append({"name": name, "digest": digest})
    return found


def write_statement(path: Path, claims: dict[str, Any] | None = None) -> Path | None:
    """State what the adapter in `path` is, signed where the user has a key; returns the statement's file.

    `claims` is for what has no header to carry them; else those of the header are stated, and nothing is where there
    are none.
    """
    place = find_place(path)
    claims = claims or claims_of(place)
    if claims is None:
        return None
    write_file(place.statement, envelope_for(place, claims).to_bytes())
    return place.statement


def envelope_for(place: Place, claims: dict[str, Any]) -> Envelope:
    """A statement of today, signed where there is a key that may be used; one that may not is named, never in the way
    of what was trained."""
    try:
        key = read_key()
    except WoodshedError as error:
        say(str(error))
        key = None
    made: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "woodshed": version("woodshed"),
    }
    if key is not None:
        public = key.public_key()
        made["signer"] = {"keyid": key_id(public), "ed25519": base64.b64encode(raw_public(public)).decode()}
    statement = {
        "_type": STATEMENT,
        "subject": subjects(place),
        "predicateType": PREDICATE,
        "predicate": {"claims": claims, "made": made},
    }
    payload = canonical(statement)
    return sign(payload, key) if key is not None else Envelope(payload)
