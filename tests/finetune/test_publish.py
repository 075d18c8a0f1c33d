"""The card of an export and its publishing: what would go, what is refused, and the real client against loopback."""

from __future__ import annotations

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard, constants
from provenance_run import Road, walk
from test_export import make_run
from typer.testing import CliRunner

from finetune.cli import app
from finetune.errors import WoodshedError

LICENCE = "# The Licence of These Weights\n\nBe kind.\nNo commercial use above 3 drums.\n"


@pytest.fixture(scope="module")
def road(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """A trained, signed run on a base with a licence, accepted by Ada."""
    root = tmp_path_factory.mktemp("publish")
    base = root / "base"
    shutil.copytree(tiny_base_folder, base)
    (base / "LICENSE.md").write_text(LICENCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WOODSHED_CONFIG", str(root / "config"))
        run("licence", base, "--accept", "--name", "Ada")
        yield walk(root, base, root / "config", patch)


@pytest.fixture
def single(road: Road, tmp_path: Path) -> Path:
    out = tmp_path / "mykit.safetensors"
    run("export", road.run, "--to", "stable-audio-3", "--out", out, "--trigger", "mykit")
    return out


def run(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("to", ["peft", "diffusers", "stable-audio-3", "comfyui", "merged"])
def test_every_export_has_a_card_that_the_hub_reads(road: Road, tmp_path: Path, to: str) -> None:
    is_folder = to in ("peft", "merged")
    out = tmp_path / ("mykit" if is_folder else "mykit.safetensors")
    done = run("export", road.run, "--to", to, "--out", out, "--trigger", "mykit")
    card = ModelCard.load(done["card"])
    said = card.data.to_dict()
    assert (said["license"], said["license_name"]) == ("other", "the-licence-of-these-weights")
    assert (said["pipeline_tag"], said["instance_prompt"]) == ("text-to-audio", "mykit")
    assert ("lora" in said["tags"]) == (to != "merged")
    (licence,) = map(Path, done["licences"])
    assert licence.read_bytes() == LICENCE.encode()
    assert said["license_link"] in licence.name
    for words in ("`own_recording`", "> 4: No commercial use above 3 drums.", "Accepted by Ada", "--trust"):
        assert words in card.text
    for secret in (road.run.parent, tmp_path):
        assert str(secret) not in card.content
    plan = run("publish", out, "--repo", "ada/mykit")
    assert plan["sent"] is False
    assert {"README.md", licence.name.removeprefix("mykit.")} <= {each["name"] for each in plan["files"]}


def test_no_card_where_none_is_wanted(road: Road, tmp_path: Path) -> None:
    out = tmp_path / "mykit.safetensors"
    assert run("export", road.run, "--to", "comfyui", "--out", out, "--no-card")["card"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mykit.dsse.json", "mykit.safetensors"]
    refused(out, "has no card beside it")


def refused(export: Path, words: str, *more: str) -> None:
    arguments = ["publish", str(export), "--repo", "ada/mykit", *more]
    with pytest.raises(WoodshedError, match=words):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_what_may_not_be_published_is_refused(road: Road, single: Path, tmp_path: Path) -> None:
    licence = single.with_name("mykit.LICENSE-of-the-base-LICENSE.md")
    licence.rename(tmp_path / "aside")
    refused(single, "has no licence file of the base")
    (tmp_path / "aside").rename(licence)
    content = bytearray(single.read_bytes())
    content[-1] ^= 1
    single.write_bytes(content)
    refused(single, "its tensors does not hold")
    folder = tmp_path / "folder"
    run("export", road.run, "--to", "peft", "--out", folder)
    (folder / "take 1.wav").write_bytes(b"a recording")
    refused(folder, r"no part of an adapter: take 1\.wav")
    with pytest.raises(WoodshedError, match="not the name of a repository"):
        CliRunner().invoke(app, ["publish", str(single), "--repo", "mykit"], catch_exceptions=False)


def test_rights_decide(road: Road, tiny_base_folder: Path, tmp_path: Path) -> None:
    """A recording that is withdrawn, and an adapter of which nothing is recorded."""
    copied = road.copy(tmp_path)
    out = copied.run / "export" / "mykit.safetensors"
    found = {
        part: {"words": f"The {part} <b>is</b> this."} for part in ("effect", "learned", "kept", "copied")
    }
    (copied.run / "evaluation").mkdir()
    (copied.run / "evaluation" / "evaluation.json").write_text(json.dumps(found))
    run("export", copied.run, "--to", "comfyui", "--out", out)
    assert r"- kept: The kept \<b\>is\</b\> this." in out.with_suffix(".md").read_text()
    run("publish", out, "--repo", "ada/mykit")
    trained = next(
        row
        for row in map(json.loads, (copied.run / "training_set.jsonl").read_text().splitlines())
        if row["split"] == "train"
    )
    taken = copied.takes / Path(trained["recording"]).name
    withdrawn = [
        "withdraw",
        str(taken),
        "--dataset",
        str(copied.dataset),
        "--runs",
        str(copied.run.parent),
    ]
    assert CliRunner().invoke(app, withdrawn, catch_exceptions=False).exit_code == 0
    refused(out, "its rights may not be used: .* was withdrawn")
    unknown = make_run(tmp_path / "unknown", tiny_base_folder)
    run("export", unknown, "--to", "comfyui", "--out", tmp_path / "b.safetensors")
    (tmp_path / "b.LICENSE-of-the-base-LICENSE").write_text(LICENCE)
    refused(tmp_path / "b.safetensors", "Nothing is recorded of the rights")


class Taking(BaseHTTPRequestHandler):
    """As much of the Hub as takes a commit."""

    status: int
    public: bool
    asked: list[tuple[str, dict[str, Any]]]
    taken: dict[str, bytes]

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer({"id": "ada/mykit", "sha": "0" * 40, "private": not self.public, "siblings": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/api/repos/create"):
            self.asked.append((self.path, json.loads(body)))
            self.answer({"url": f"{constants.ENDPOINT}/ada/mykit", "id": "ada/mykit", "name": "ada/mykit"})
        elif "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                row = json.loads(line)
                if row["key"] == "file":
                    self.taken[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
            self.answer(
                {
                    "commitUrl": f"{constants.ENDPOINT}/ada/mykit/commit/0",
                    "commitOid": "0" * 40,
                    "success": True,
                }
            )
        else:
            self.answer({})

    def answer(self, found: dict[str, Any]) -> None:
        content = json.dumps(found).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Taking]]:
    hub = type("Hub", (Taking,), {"status": 200, "public": False, "asked": [], "taken": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield hub
    server.shutdown()
    server.server_close()


def test_nothing_is_sent_without_yes_and_with_it_exactly_the_plan(single: Path, hub: type[Taking]) -> None:
    plan = run("publish", single, "--repo", "ada/mykit")
    assert (hub.asked, hub.taken) == ([], {})
    done = run("publish", single, "--repo", "ada/mykit", "--yes")
    assert done["sent"] is True
    assert [said["visibility"] for _, said in hub.asked] == ["private"]
    assert set(hub.taken) == {each["name"] for each in plan["files"]}
    assert hub.taken["mykit.safetensors"] == single.read_bytes()
    assert hub.taken["README.md"] == single.with_suffix(".md").read_bytes()


def test_a_public_repository_is_not_taken_for_a_private_one(single: Path, hub: type[Taking]) -> None:
    hub.public = True
    refused(single, "is there already and public", "--yes")
    assert hub.taken == {}
    assert run("publish", single, "--repo", "ada/mykit", "--yes", "--public")["private"] is False


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "hf auth login"), (403, "may not write"), (404, "no such owner"), (500, "answered 500")],
)
def test_what_the_hub_refuses_is_a_sentence(single: Path, hub: type[Taking], status: int, words: str) -> None:
    hub.status = status
    refused(single, words, "--yes")
