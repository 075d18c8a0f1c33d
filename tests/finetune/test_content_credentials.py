"""Content credentials: read back by the library, broken by one changed sample, never in the way of the sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from cryptography import x509
from typer.testing import CliRunner

from finetune import content_credentials
from finetune.audio_files import read_about, write_audio
from finetune.cli import app
from finetune.content_credentials import (
    CERTIFICATES,
    GENERATION,
    add_credentials,
    make_certificates,
    manifest,
    read_credentials,
    signing_key,
)
from finetune.errors import WoodshedError
from finetune.provenance.keys import make_key

ABOUT: dict[str, Any] = {
    "woodshed": "0.1.0",
    "prompt": "kick 🥁, tight",
    "seed": 7,
    "base": "starter",
    "base_sha256": "a" * 64,
    "adapters": [{"name": "mykit", "sha256": "b" * 64, "strength": 0.8}],
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WOODSHED_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def sound(config: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    pytest.importorskip("c2pa", reason="needs the extra c2pa")
    make_key()
    path = tmp_path / f"täke 🥁{request.param}"
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 4410)).astype(np.float32)
    write_audio(path, noise, 44_100, 24, ABOUT)
    return path


both = pytest.mark.parametrize("sound", [".wav", ".flac"], indirect=True)


@both
def test_a_file_says_that_a_model_made_it_and_with_what(sound: Path) -> None:
    before = sf.read(sound)[0]
    add_credentials(sound, ABOUT, signing_key())
    store = read_credentials(sound)
    assert store["validation_state"] == "Valid"
    assert [each["code"] for each in store["validation_status"]] == ["signingCredential.untrusted"]
    said = store["manifests"][store["active_manifest"]]
    assertions = {each["label"]: each["data"] for each in said["assertions"]}
    (action,) = assertions["c2pa.actions.v2"]["actions"]
    assert action["action"] == "c2pa.created"
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert assertions[GENERATION]["made_with"] == [
        {"what": "base", "name": "starter", "sha256": "a" * 64},
        {"what": "adapter", "name": "mykit", "sha256": "b" * 64, "strength": 0.8},
    ]
    assert [each["title"] for each in said["ingredients"]] == ["base starter", "adapter mykit"]
    assert said["signature_info"]["alg"] == "Ed25519"
    assert str(sound.parent) not in json.dumps(store)
    assert read_about(sound) == ABOUT  # the tags and the sound are what they were
    assert np.array_equal(sf.read(sound)[0], before)


@both
def test_a_changed_byte_of_the_sound_breaks_it(sound: Path) -> None:
    add_credentials(sound, ABOUT, signing_key())
    content = bytearray(sound.read_bytes())
    place = len(content) // 2 if sound.suffix == ".flac" else 2000
    content[place] ^= 1
    sound.write_bytes(content)
    assert read_credentials(sound)["validation_state"] == "Invalid"


@both
def test_ffmpeg_reads_it_too(sound: Path) -> None:
    """A FLAC with credentials begins with an ID3 tag, which not every reader expects."""
    av = pytest.importorskip("av", reason="needs the extra av")
    add_credentials(sound, ABOUT, signing_key())
    with av.open(str(sound)) as file:
        assert sum(frame.samples for frame in file.decode(audio=0)) == 4410
        assert json.loads(file.metadata["comment"]) == ABOUT


@pytest.mark.parametrize("sound", [".wav"], indirect=True)
def test_what_does_not_hold_when_read_back_is_not_kept(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sound.read_bytes()
    monkeypatch.setattr(content_credentials, "_read", lambda kind, content: {"validation_state": "Invalid"})
    with pytest.raises(WoodshedError, match="do not hold when read back"):
        add_credentials(sound, ABOUT, signing_key())
    assert sound.read_bytes() == before


@pytest.mark.parametrize("sound", [".wav"], indirect=True)
def test_the_certificate_is_made_once_for_a_key(sound: Path, config: Path) -> None:
    add_credentials(sound, ABOUT, signing_key())
    first = (config / CERTIFICATES).read_bytes()
    add_credentials(sound, ABOUT, signing_key())
    assert (config / CERTIFICATES).read_bytes() == first
    (config / "signing_key.pem").unlink()
    make_key()
    add_credentials(sound, ABOUT, signing_key())
    assert (config / CERTIFICATES).read_bytes() != first
    (config / CERTIFICATES).write_text("no certificate")
    with pytest.raises(WoodshedError, match=r"holds no certificate\. Delete it"):
        add_credentials(sound, ABOUT, signing_key())


def test_the_authority_has_issued_the_certificate(config: Path) -> None:
    key = make_key()
    leaf, authority = x509.load_pem_x509_certificates(make_certificates(key.public_key()))
    leaf.verify_directly_issued_by(authority)
    authority.verify_directly_issued_by(authority)
    assert leaf.public_key() == key.public_key()
    assert authority.public_key() != key.public_key()


def test_a_sound_begun_from_another_is_a_composite() -> None:
    made = manifest("a.wav", "audio/wav", ABOUT | {"init_sha256": "c" * 64})
    action = made["assertions"][0]["data"]["actions"][0]
    assert action["digitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")


def test_generate_writes_them_where_asked(config: Path, tiny_base_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("c2pa", reason="needs the extra c2pa")
    out = tmp_path / "kick.wav"
    words = [
        "generate",
        str(tiny_base_folder),
        "-p",
        "kick",
        "--seconds",
        "0.2",
        "--steps",
        "1",
        "-o",
        str(out),
    ]
    with pytest.raises(WoodshedError, match="you have none yet: woodshed keys"):
        CliRunner().invoke(app, [*words, "--credentials"], catch_exceptions=False)
    assert not out.exists()
    make_key()
    done = CliRunner().invoke(app, [*words, "--json", "--credentials"], catch_exceptions=False)
    assert json.loads(done.stdout)["credentials"] is True
    said = read_credentials(out)
    data = {each["label"]: each["data"] for each in said["manifests"][said["active_manifest"]]["assertions"]}
    assert data[GENERATION]["made_with"][0]["sha256"] == read_about(out)["base_sha256"]
    again = CliRunner().invoke(app, words, catch_exceptions=False)
    assert again.exit_code == 0
    with pytest.raises(WoodshedError, match="no content credentials"):
        read_credentials(out)


def test_without_the_extra_it_says_what_to_install(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_credentials, "find_spec", lambda name: None)
    with pytest.raises(WoodshedError, match=r"pip install 'woodshed\[c2pa\]'"):
        signing_key()
