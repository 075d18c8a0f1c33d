"""The key that statements are signed with: Ed25519, in the user's configuration, readable by its owner alone."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from finetune.config_folder import config_folder
from finetune.errors import WoodshedError
from finetune.files import make_folder
from finetune.provenance.canonical import sha256

KEY = "signing_key.pem"
_KEY_ID = re.compile(r"[0-9a-f]{64}")


def key_file() -> Path:
    return config_folder() / KEY


def read_key() -> Ed25519PrivateKey | None:
    """The user's key; None where none was made. WoodshedError for one that others may read, or that is no such key."""
    path = key_file()
    if not path.exists():
        return None
    if os.name == "posix" and (open_to := stat.S_IMODE(path.stat().st_mode)) & 0o077:
        raise WoodshedError(
            f"The signing key '{path}' may be read by others (mode {open_to:04o}), so it proves nothing and is not "
            f"used. If nobody had it: chmod 600 '{path}'. Else delete it, and make a new one with: woodshed keys"
        )
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise WoodshedError(f"The signing key '{path}' cannot be read: {error}.") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise WoodshedError(
            f"The signing key '{path}' is no Ed25519 key. Put it away, and run: woodshed keys"
        )
    return key


def make_key() -> Ed25519PrivateKey:
    """Make the user's key. WoodshedError where there is one already: what it signed would be nobody's."""
    path = key_file()
    make_folder(path.parent)
    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise WoodshedError(f"There is a signing key in '{path}' already, and it stays.") from error
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def raw_public(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def key_id(key: Ed25519PublicKey) -> str:
    """The SHA-256 of the public key (DER, SubjectPublicKeyInfo): its fingerprint."""
    return sha256(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def trusted_id(trust: str) -> str:
    """The fingerprint that `--trust` means: itself, or that of the public key in a PEM file."""
    if _KEY_ID.fullmatch(trust.lower()):
        return trust.lower()
    path = Path(trust).expanduser()
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise WoodshedError(
            f"--trust '{trust}' is neither a fingerprint (64 hexadecimal digits) nor a file that can be read: "
            f"{error.strerror}."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WoodshedError(
            f"'{trust}' holds no public key; `woodshed keys --out FILE` writes one (PEM)."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise WoodshedError(f"'{trust}' is no Ed25519 key; `woodshed keys --out FILE` writes one.")
    return key_id(key)
