"""Bases from the Hub: the real client against a server on the loopback interface."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub.file_download
import pytest
import torch
from huggingface_hub import constants

from finetune.base_model import find_base, load_base
from finetune.errors import WoodshedError
from tests.finetune.conftest import accept_licences
from tests.finetune.loopback_hub import Hub, loopback_hub
from tests.tools.random_checkpoint import write_checkpoint
from tests.tools.stability_geometry import GEOMETRIES, TEXT_FOLDER

NAME = "stabilityai/stable-audio-3-small-music-base"
POST_TRAINED = "stabilityai/stable-audio-3-small-music"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository as published, with what nobody needs beside what is needed."""
    root = tmp_path_factory.mktemp("published") / "base"
    write_checkpoint(root, GEOMETRIES["tiny"])
    (root / "LICENSE.md").write_text("Be kind.")
    (root / TEXT_FOLDER / "LICENSE").write_text("Be kind to the text, too.")
    for other in ("README.md", "model.ckpt", "svd_bases.pt", f"{TEXT_FOLDER}/pytorch_model.bin", "demo.wav"):
        (root / other).write_bytes(b"not needed")
    return root


@pytest.fixture
def hub(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    accept_licences(published, tmp_path / "config", monkeypatch)
    with loopback_hub() as hub:
        hub.repos[NAME] = published
        point_at(hub.endpoint, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield hub


def point_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def refusal(name: str) -> str:
    with pytest.raises(WoodshedError) as refused:
        find_base(name)
    return str(refused.value)


def test_a_base_is_fetched_once_and_only_what_it_needs(hub: Hub, published: Path) -> None:
    base = load_base("small-music-base")
    text = {
        f"{TEXT_FOLDER}/{file}"
        for file in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "LICENSE")
    }
    assert set(hub.files_asked()) == {"model_config.json", "model.safetensors", "LICENSE.md", *text}
    assert base.fingerprint == load_base(str(published)).fingerprint
    assert base.licence is not None and base.licence.read_text() == "Be kind."
    assert base.name == "small-music-base"
    hub.asked.clear()
    again = load_base(NAME)
    assert hub.asked == [], "what the cache holds is taken without asking"
    assert torch.equal(again.transformer.proj_in.weight, base.transformer.proj_in.weight)


def test_the_clients_own_settings_hold(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Endpoint, cache and token from the environment of another process; then offline from what it fetched."""
    settings = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_of_the_test",
        "NO_PROXY": "127.0.0.1",
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))}
    find = f"from finetune.base_model import find_base; print(find_base('{NAME}'))"
    done = subprocess.run([sys.executable, "-c", find], env=kept | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to(tmp_path / "home" / "hub") and (folder / "model.safetensors").is_file()
    assert "Bearer hf_of_the_test" in hub.tokens
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    assert find_base(NAME) == folder
    assert hub.asked == []


def test_a_name_that_is_not_there_lists_those_that_are(hub: Hub) -> None:
    said = refusal("somebody/nothing")
    assert "neither a folder nor a repository" in said
    assert "small-sfx-base, medium, medium-base" in said


@pytest.mark.parametrize("headers", [{}, {"X-Error-Message": "Invalid credentials in Authorization header"}])
def test_401_tells_to_log_in(hub: Hub, headers: dict[str, str]) -> None:
    hub.answers[NAME] = (401, headers)
    said = refusal(NAME)
    assert f"{hub.endpoint}/{NAME}" in said and "`hf auth login`" in said


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("only", ["", "/resolve/"])
def test_a_gated_base_tells_which_page_to_open(hub: Hub, status: int, only: str) -> None:
    """On the Hub everybody may list a gated repository, and only its files are kept back."""
    hub.answers[NAME], hub.only = (status, {"X-Error-Code": "GatedRepo"}), only
    said = refusal(NAME)
    assert f"open {hub.endpoint}/{NAME} while signed in, agree, then run `hf auth login`" in said


def test_403_without_a_reason_is_told_as_gated(hub: Hub) -> None:
    hub.answers[NAME] = (403, {})
    assert "its licence has to be agreed to" in refusal(NAME)


def test_trouble_of_the_hub_is_said(hub: Hub) -> None:
    hub.answers[NAME] = (500, {})
    assert "the Hub answered 500. Try again later" in refusal(NAME)


def test_offline_without_a_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set and the Hub's cache does not hold it" in refusal(NAME)
    assert hub.asked == []


def test_no_network(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:9", monkeypatch)  # nobody listens there
    assert "cannot be reached. Connect to the network" in refusal(NAME)


def test_a_cut_file_is_not_kept(hub: Hub) -> None:
    hub.cut = 10
    assert "a file came shorter" in refusal(NAME)
    hub.cut = 0
    assert load_base(NAME).name == NAME


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_names_the_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    download = huggingface_hub.file_download.http_get

    def onto_a_full_disk(url: str, temp_file: Any, **told: Any) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            download(url, full, **told)

    monkeypatch.setattr(huggingface_hub.file_download, "http_get", onto_a_full_disk)
    said = refusal(NAME)
    assert f"'{constants.HF_HUB_CACHE}') is full" in said and "HF_HUB_CACHE=FOLDER" in said


def test_another_kind_of_model_is_refused_before_its_weights_come(
    hub: Hub, published: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(published, tmp_path / "other"))
    config = (other / "model_config.json").read_text()
    (other / "model_config.json").write_text(config.replace('"rectified_flow"', '"v"'))
    hub.repos["somebody/other"] = other
    assert "diffusion_objective" in refusal("somebody/other")
    assert "model.safetensors" not in hub.files_asked()


def test_a_repository_without_safetensors_is_no_base(hub: Hub, published: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(published, tmp_path / "other"))
    (other / "model.safetensors").unlink()
    hub.repos["somebody/pickles"] = other
    assert "has no model.safetensors" in refusal("somebody/pickles")
    (other / "model_config.json").unlink()
    hub.repos["somebody/nothing"] = other
    shutil.rmtree(Path(constants.HF_HUB_CACHE))
    assert "it is no base that Woodshed can read" in refusal("somebody/nothing")


def test_the_text_encoder_may_lie_with_the_post_trained_model(
    hub: Hub, published: Path, tmp_path: Path
) -> None:
    base = Path(shutil.copytree(published, tmp_path / "base"))
    shutil.rmtree(base / TEXT_FOLDER)
    hub.repos[NAME], hub.repos[POST_TRAINED] = base, published
    assert load_base(NAME).fingerprint == load_base(str(published)).fingerprint
    asked = [path for kind, path in hub.asked if kind == "GET" and f"/{POST_TRAINED}/resolve/" in path]
    assert asked and all(f"/{TEXT_FOLDER}/" in path for path in asked), "nothing but the text encoder"
    hub.asked.clear()
    assert load_base(str(base)).text_encoder is not None, "a folder takes it from the cache"
    assert hub.asked == []


def test_nothing_is_fetched_for_a_folder(hub: Hub, published: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(published, tmp_path / "base"))
    shutil.rmtree(base / TEXT_FOLDER)
    hub.repos[POST_TRAINED] = published
    with pytest.raises(WoodshedError, match=f"hf download {POST_TRAINED} --include '{TEXT_FOLDER}/"):
        load_base(str(base))
    assert hub.asked == []


def test_a_folder_in_diffusers_layout_may_be_on_the_hub(hub: Hub, tiny_base_folder: Path) -> None:
    hub.repos["somebody/tiny"] = tiny_base_folder
    base = load_base("somebody/tiny")
    assert base.fingerprint == load_base(str(tiny_base_folder)).fingerprint
