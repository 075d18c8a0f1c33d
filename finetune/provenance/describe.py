"""What an adapter says of its provenance, at one look and without proving it: for reports and model cards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from finetune.errors import WoodshedError
from finetune.provenance.dsse import read_envelope
from finetune.provenance.place import claims_of, find_place
from finetune.provenance.signature import look_at


@dataclass(frozen=True)
class Described:
    """`claims` is what the header says (docs/provenance.md), `rights` its summary `{bases: {basis: {clips, recordings,
    minutes}}, licences, restrictions, clips_without_rights}`, `training_set` its roots and counts; all None for an
    adapter made before or elsewhere. `statement` is the statement's file where there is one, `key_id` who signed it,
    `yours` whether that is this user. `words` says it in a sentence. Only `woodshed verify` proves any of it."""

    path: Path
    claims: dict[str, Any] | None
    rights: dict[str, Any] | None
    training_set: dict[str, Any] | None
    statement: Path | None
    signature: Literal["none", "signed", "unsigned", "invalid"]
    key_id: str | None
    yours: bool
    words: str


def describe(path: Path) -> Described:
    """Look at a run, an adapter's folder or its file. WoodshedError for what is no adapter."""
    place = find_place(path)
    claims = claims_of(place)
    signature: Literal["none", "signed", "unsigned", "invalid"] = "none"
    key, yours = None, False
    if place.statement.is_file():
        try:
            seen = look_at(read_envelope(place.statement.read_bytes(), f"'{place.statement}'"))
            signature, key, yours = seen.state, seen.key_id, seen.yours
        except WoodshedError:
            signature = "invalid"
    return Described(
        path=place.path,
        claims=claims,
        rights=(claims or {}).get("rights"),
        training_set=(claims or {}).get("training_set"),
        statement=place.statement if place.statement.is_file() else None,
        signature=signature,
        key_id=key,
        yours=yours,
        words=_words(claims is not None, signature, key, yours),
    )


def _words(claims: bool, signature: str, key: str | None, yours: bool) -> str:
    if not claims and signature == "none":
        return "Nothing is recorded of what this adapter was made from."
    if signature == "signed":
        whose = "your key" if yours else "the key"
        return f"What it was made from is stated and signed with {whose} {key}."
    if signature == "invalid":
        return "There is a statement of what it was made from, and its signature does not hold."
    return "What it was made from is recorded and not signed; `woodshed keys` makes a key."
