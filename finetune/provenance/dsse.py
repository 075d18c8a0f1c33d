"""Signed envelopes: DSSE v1 (github.com/secure-systems-lab/dsse) around an in-toto statement, with Ed25519.

An envelope without a signature holds a statement that nobody stands for yet.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from finetune.errors import WoodshedError
from finetune.provenance.canonical import canonical, read_object
from finetune.provenance.keys import key_id

PAYLOAD_TYPE = "application/vnd.in-toto+json"


@dataclass(frozen=True)
class Envelope:
    """`payload` is the statement as bytes; `key_id` and `signature` are None where it is not signed."""

    payload: bytes
    key_id: str | None = None
    signature: bytes | None = None

    def to_bytes(self) -> bytes:
        signatures = []
        if self.key_id and self.signature:
            signatures = [{"keyid": self.key_id, "sig": base64.b64encode(self.signature).decode()}]
        content = {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": signatures,
        }
        return canonical(content) + b"\n"

    def statement(self) -> dict[str, Any]:
        return read_object(self.payload, "The statement")

    def is_signed_by(self, key: Ed25519PublicKey) -> bool:
        """Whether the signature, and the fingerprint beside it, are those of `key`."""
        if self.signature is None or self.key_id != key_id(key):
            return False
        try:
            key.verify(self.signature, pre_authentication(self.payload))
        except InvalidSignature:
            return False
        return True


def pre_authentication(payload: bytes) -> bytes:
    """What is signed (DSSE's PAE): type and payload with their lengths."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload: bytes, key: Ed25519PrivateKey) -> Envelope:
    return Envelope(payload, key_id(key.public_key()), key.sign(pre_authentication(payload)))


def read_envelope(content: bytes, what: str) -> Envelope:
    """The envelope in a file as Woodshed writes it, to the last byte. WoodshedError, beginning with `what`, else."""
    found = read_object(content, what)
    try:
        signatures = found["signatures"]
        if len(signatures) > 1:
            raise ValueError("it has several signatures")
        payload = base64.b64decode(found["payload"], validate=True)
        signed = (
            (signatures[0]["keyid"], base64.b64decode(signatures[0]["sig"], validate=True))
            if signatures
            else ()
        )
        envelope = Envelope(payload, *signed)
        if envelope.to_bytes() != content:
            raise ValueError("its bytes are not as Woodshed writes them")
    except (KeyError, TypeError, ValueError, IndexError, binascii.Error) as error:
        raise WoodshedError(f"{what} is no envelope of a signed statement: {error}.") from error
    return envelope
