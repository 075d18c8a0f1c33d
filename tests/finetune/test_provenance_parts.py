"""The parts of provenance beside their definitions: Merkle trees, envelopes, keys, hashes of tensors."""

from __future__ import annotations

import base64
import json
import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save
from typer.testing import CliRunner

from finetune.adapter.formats.tensor_hash import tensor_hash
from finetune.adapter.formats.tensors import with_header
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.provenance import merkle
from finetune.provenance.dsse import Envelope, pre_authentication, read_envelope, sign
from finetune.provenance.keys import key_file, key_id, make_key, public_pem, read_key, trusted_id

# The leaves and roots that Certificate Transparency's own implementations test with.
CT_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
CT_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WOODSHED_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.mark.parametrize("count", CT_ROOTS)
def test_roots_are_those_of_certificate_transparency(count: int) -> None:
    leaves = [merkle.leaf_hash(bytes.fromhex(text)) for text in CT_LEAVES[:count]]
    assert merkle.root(leaves).hex() == CT_ROOTS[count]


@given(st.integers(1, 40).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))), st.data())
def test_a_path_leads_to_the_root_and_no_other_does(place: tuple[int, int], data: st.DataObject) -> None:
    size, index = place
    leaves = [merkle.leaf_hash(bytes([n])) for n in range(size)]
    path, root = merkle.inclusion_path(leaves, index), merkle.root(leaves)
    assert merkle.root_of_path(leaves[index], index, size, path) == root
    assert len(path) <= (size - 1).bit_length()
    wrong = data.draw(st.integers(0, size - 1).filter(lambda n: n != index)) if size > 1 else None
    if wrong is not None:
        assert merkle.root_of_path(leaves[wrong], index, size, path) != root
        assert merkle.root_of_path(leaves[index], wrong, size, path) != root
        assert merkle.root_of_path(leaves[index], index, size, path[:-1]) != root
    assert merkle.root_of_path(leaves[index], index, size, [*path, root]) != root
    assert merkle.root_of_path(leaves[index], size, size, path) is None


def test_what_is_signed_is_what_dsse_says() -> None:
    assert pre_authentication(b"hello world") == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"


def test_an_envelope_is_read_by_the_rules_of_dsse_alone(config: Path) -> None:
    """A reader that knows nothing of Woodshed: JSON, base64, the public key in PEM, Ed25519."""
    key = make_key()
    found = json.loads(sign(b'{"a":1}', key).to_bytes())
    payload, (signature,) = base64.b64decode(found["payload"]), found["signatures"]
    kind = found["payloadType"].encode()
    message = b" ".join([b"DSSEv1", str(len(kind)).encode(), kind, str(len(payload)).encode(), payload])
    public = load_pem_public_key(public_pem(key.public_key()))
    public.verify(base64.b64decode(signature["sig"]), message)  # type: ignore[call-arg, union-attr]
    assert (payload, kind) == (b'{"a":1}', b"application/vnd.in-toto+json")


def test_no_byte_of_an_envelope_can_be_another(config: Path) -> None:
    key = make_key()
    content = sign(b'{"subject":[]}', key).to_bytes()
    assert read_envelope(content, "it").is_signed_by(key.public_key())
    for place in range(len(content)):
        for change in (1, 2, 32):
            changed = content[:place] + bytes([content[place] ^ change]) + content[place + 1 :]
            try:
                assert not read_envelope(changed, "it").is_signed_by(key.public_key())
            except WoodshedError:
                continue


def test_an_unsigned_envelope_is_signed_by_nobody(config: Path) -> None:
    envelope = read_envelope(Envelope(b"{}").to_bytes(), "it")
    assert envelope.signature is None
    assert not envelope.is_signed_by(make_key().public_key())


def test_a_key_is_its_owners_alone_and_is_made_once(config: Path) -> None:
    assert read_key() is None
    made = make_key()
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    again = read_key()
    assert again and key_id(again.public_key()) == key_id(made.public_key())
    with pytest.raises(WoodshedError, match="already, and it stays"):
        make_key()


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_a_key_that_others_may_read_is_not_used(config: Path) -> None:
    make_key()
    key_file().chmod(0o640)
    with pytest.raises(WoodshedError, match=r"may be read by others \(mode 0640\).*chmod 600"):
        read_key()


def test_what_is_no_key_is_said(config: Path, tmp_path: Path) -> None:
    config.mkdir()
    key_file().write_bytes(b"")
    key_file().chmod(0o600)
    with pytest.raises(WoodshedError, match="cannot be read"):
        read_key()
    with pytest.raises(WoodshedError, match="neither a fingerprint"):
        trusted_id("nobody")
    with pytest.raises(WoodshedError, match="holds no public key"):
        trusted_id(str(key_file()))


def test_the_command_makes_a_key_shows_it_and_writes_its_public_half(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "schlüssel.pem"
    first = CliRunner().invoke(app, ["keys", "--out", str(out), "--json"])
    second = CliRunner().invoke(app, ["keys", "--json"])
    made, shown = json.loads(first.stdout), json.loads(second.stdout)
    assert (made["made"], shown["made"]) == (True, False)
    assert made["key_id"] == shown["key_id"] == trusted_id(str(out)) == trusted_id(made["key_id"].upper())
    assert "PRIVATE" not in first.output + out.read_text()


def test_tensors_have_one_hash_whatever_the_header(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(5, dtype=torch.bfloat16)}
    plain = save(tensors)
    digest = sha256()
    for name, kind, shape in (("a", "BF16", [5]), ("b", "F32", [2, 3])):
        raw = tensors[name].contiguous().view(torch.uint8).numpy().tobytes()
        digest.update(json.dumps([name, kind, shape, len(raw)]).encode() + b"\n" + raw)
    assert tensor_hash(plain) == tensor_hash(with_header(plain, {"title": "kit"})) == digest.hexdigest()
    for changed in ({**tensors, "a": tensors["a"].half()}, {**tensors, "b": tensors["b"].reshape(3, 2)}):
        assert tensor_hash(save(changed)) != tensor_hash(plain)


@pytest.mark.parametrize("content", [b"", b"1234567", b"\xff" * 40, b"\x02" + b"\0" * 7 + b"[]"])
def test_what_has_no_tensors_is_refused(content: bytes) -> None:
    with pytest.raises(WoodshedError, match="no whole safetensors file"):
        tensor_hash(content)
