"""Whose signature is under a statement."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from finetune.errors import WoodshedError
from finetune.provenance.dsse import Envelope
from finetune.provenance.keys import key_id, read_key
from finetune.provenance.results import Check

State = Literal["signed", "unsigned", "invalid"]


@dataclass(frozen=True)
class Signature:
    """`key_id` is the signer's fingerprint, None where it is not signed; `yours` that it is the key of this user."""

    state: State
    key_id: str | None
    yours: bool


def look_at(envelope: Envelope) -> Signature:
    """The signature of an envelope, by the public key that the statement itself names."""
    if envelope.signature is None:
        return Signature("unsigned", None, False)
    try:
        signer = envelope.statement()["predicate"]["made"]["signer"]
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signer["ed25519"], validate=True))
        valid = signer["keyid"] == key_id(key) and envelope.is_signed_by(key)
    except (WoodshedError, KeyError, TypeError, ValueError):
        return Signature("invalid", envelope.key_id, False)
    return Signature(
        "signed" if valid else "invalid", envelope.key_id, valid and envelope.key_id == your_key_id()
    )


def judged(envelope: Envelope, trusted: str | None, what: str) -> Check:
    """Whether an envelope is signed with the key `trusted`, or, where none is named, with this user's own."""
    name, seen = "signature", look_at(envelope)
    if seen.state == "invalid":
        return Check(
            name, "failed", "The signature is not one of this statement: one of the two was changed."
        )
    if seen.state == "unsigned":
        cure = f"Make a key with `woodshed keys`, then sign it with: woodshed keys --sign {what}"
        return Check(name, "incomplete", f"The statement is not signed. {cure}")
    if trusted and seen.key_id != trusted:
        return Check(name, "failed", f"It is signed with the key {seen.key_id}, and not with {trusted}.")
    if not trusted and not seen.yours:
        words = f"It is signed with the key {seen.key_id}. If you know whose that is, say so: --trust {seen.key_id}"
        return Check(name, "incomplete", words)
    whose = "your key" if seen.yours else "the key that you trust"
    return Check(name, "proved", f"It is signed with {whose}, {seen.key_id}.")


def your_key_id() -> str | None:
    """The fingerprint of this user's key; None where there is none that may be used."""
    try:
        key = read_key()
    except WoodshedError:
        return None
    return key_id(key.public_key()) if key else None
