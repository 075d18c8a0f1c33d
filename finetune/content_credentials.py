"""Content credentials (C2PA) in a generated sound: a signed manifest that says that a model made it, and with what.

A C2PA claim of version 2: `c2pa.created` with the IPTC source type `trainedAlgorithmicMedia`, base and adapters as
ingredients that went in (`inputTo`), their hashes in an assertion of our own, `woodshed.generation`. Signed with the
user's key (`woodshed keys`) under a certificate that the user made for themselves: a reader can tell that nothing was
changed, and shows the signer as unknown. Needs the extra `c2pa`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from finetune.config_folder import config_folder
from finetune.errors import WoodshedError
from finetune.files import write_file
from finetune.provenance.keys import key_id, read_key

CERTIFICATES = "content_credentials.pem"  # that of the user's key, then the one that it was issued under
_IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MADE_BY_A_MODEL = f"{_IPTC}trainedAlgorithmicMedia"
MADE_FROM_A_SOUND = f"{_IPTC}compositeWithTrainedAlgorithmicMedia"  # what --init begins from
GENERATION = "woodshed.generation"
FORMATS = {".wav": "audio/wav", ".flac": "audio/flac"}
_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")  # RFC 9336
_YEARS = 10


def signing_key() -> Ed25519PrivateKey:
    """The user's key. WoodshedError, before any work, where the extra or the key is missing."""
    if find_spec("c2pa") is None:
        raise WoodshedError("--credentials needs an extra: pip install 'woodshed[c2pa]'")
    key = read_key()
    if key is None:
        raise WoodshedError("--credentials are signed with your key, and you have none yet: woodshed keys")
    return key


def add_credentials(path: Path, about: Mapping[str, Any], key: Ed25519PrivateKey) -> None:
    """Put a manifest of what `about` says (`tags.about_sound`) into the WAV or FLAC `path`, and read it back.

    WoodshedError, the file staying as it was, where the library refuses, or does not find valid what it has written.
    """
    import c2pa

    chain = _certificates(key)
    signer = c2pa.Signer.from_callback(key.sign, c2pa.C2paSigningAlg.ED25519, chain.decode())
    kind, signed = FORMATS[path.suffix.lower()], io.BytesIO()
    try:
        builder = c2pa.Builder(json.dumps(manifest(path.name, kind, about)))
        builder.sign(signer, kind, io.BytesIO(path.read_bytes()), signed)
        _check(_read(kind, signed.getvalue()), path)
        write_file(path, signed.getvalue())
    except (c2pa.C2paError, OSError) as error:
        raise WoodshedError(f"Content credentials could not be put into '{path}': {error}") from error


def read_credentials(path: Path) -> dict[str, Any]:
    """The manifest store of a file, with `validation_state`, as the library reads it. WoodshedError where is none."""
    import c2pa

    try:
        return _read(FORMATS.get(path.suffix.lower(), "audio/wav"), path.read_bytes())
    except (c2pa.C2paError, OSError) as error:
        raise WoodshedError(f"'{path}' has no content credentials that can be read: {error}") from error


def manifest(title: str, kind: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's definition. The prompt is in it as in the file's tags; no path, no name of a person."""
    used = [{"what": "base", "name": about["base"], "sha256": about["base_sha256"]}]
    used += [
        {"what": "adapter", "name": each["name"], "sha256": each["sha256"], "strength": each["strength"]}
        for each in about["adapters"]
    ]
    action = {
        "action": "c2pa.created",
        "digitalSourceType": MADE_FROM_A_SOUND if "init_sha256" in about else MADE_BY_A_MODEL,
        "softwareAgent": {"name": "Woodshed", "version": about["woodshed"]},
    }
    return {
        "claim_generator_info": [{"name": "Woodshed", "version": about["woodshed"]}],
        "title": title,
        "format": kind,
        "ingredients": [
            {
                "title": f"{each['what']} {each['name']}",
                "format": "application/octet-stream",
                "instance_id": f"sha256:{each['sha256']}",
                "relationship": "inputTo",
            }
            for each in used
        ],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}},
            {
                "label": GENERATION,
                "data": {"made_with": used, "prompt": about["prompt"], "seed": about["seed"]},
            },
        ],
    }


def _read(kind: str, content: bytes) -> dict[str, Any]:
    import c2pa

    with c2pa.Reader(kind, io.BytesIO(content)) as reader:
        store: dict[str, Any] = json.loads(reader.json())
    return store


def _check(store: dict[str, Any], path: Path) -> None:
    """WoodshedError unless what was signed is intact; that nobody vouches for the certificate is no fault."""
    if store.get("validation_state") not in ("Valid", "Trusted"):
        codes = [each.get("code") for each in store.get("validation_status", [])]
        raise WoodshedError(f"The content credentials of '{path}' do not hold when read back: {codes}.")


def _certificates(key: Ed25519PrivateKey) -> bytes:
    """The chain for the user's key, in PEM: made at first use, and anew for another key or one that has run out."""
    path = config_folder() / CERTIFICATES
    if path.is_file():
        content = path.read_bytes()
        try:
            leaf = x509.load_pem_x509_certificates(content)[0]
        except ValueError as error:
            raise WoodshedError(f"'{path}' holds no certificate. Delete it; it is made anew.") from error
        if leaf.public_key() == key.public_key() and leaf.not_valid_after_utc > datetime.now(UTC):
            return content
    chain = make_certificates(key.public_key())
    write_file(path, chain)
    return chain


def make_certificates(public: Ed25519PublicKey) -> bytes:
    """A certificate for `public` and the self-made authority above it, whose own key is thrown away.

    C2PA takes no certificate that is signed by itself, so that there are two. They name a fingerprint, not a person.
    """
    authority = Ed25519PrivateKey.generate()
    above = _name("Woodshed, self-made authority")
    root = _certificate(above, above, authority.public_key(), authority.public_key())
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = root.add_extension(_usage(signs_certificates=True), critical=True)
    leaf = _certificate(_name(f"Woodshed user {key_id(public)[:16]}"), above, public, authority.public_key())
    leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    leaf = leaf.add_extension(_usage(signs_certificates=False), critical=True)
    purposes = [ExtendedKeyUsageOID.EMAIL_PROTECTION, _DOCUMENT_SIGNING]
    leaf = leaf.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return b"".join(each.sign(authority, None).public_bytes(Encoding.PEM) for each in (leaf, root))


def _certificate(
    subject: x509.Name, issuer: x509.Name, public: Ed25519PublicKey, issuing: Ed25519PublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=365 * _YEARS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing), critical=False)
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(words: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Woodshed"),
            x509.NameAttribute(NameOID.COMMON_NAME, words),
        ]
    )
