"""Publishing an export: what would go, what is refused, and the Hub's own client against a server on loopback."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port
from huggingface_hub import constants
from provenance_run import Road, walk
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_export import make_run
from typer.testing import CliRunner

from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.publish import plan_upload
from finetune.publish_send import send

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


def refused(export: Path, words: str, *more: str) -> None:
    arguments = ["publish", str(export), "--repo", "ada/mykit", *more]
    with pytest.raises(WoodshedError, match=words):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.mark.parametrize("to", ["peft", "merged"])
def test_of_a_folder_exactly_the_export_goes(road: Road, tmp_path: Path, to: str) -> None:
    folder = tmp_path / "mykit"
    run("export", road.run, "--to", to, "--out", folder)
    whole = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    (folder / "take 1.wav").write_bytes(b"a recording")
    (folder / ".hidden").write_bytes(b"a token")
    plan = run("publish", folder, "--repo", "ada/mykit")
    assert plan["sent"] is False and plan["private"] is True
    assert {each["name"] for each in plan["files"]} == whole
    assert {"README.md", "LICENSE.md", "statement.dsse.json"} <= whole
    assert plan["left_out"] == [".hidden", "take 1.wav"]
    assert plan["whole_base"] == (to == "merged")
    for each in plan["files"]:
        content = (folder / each["name"]).read_bytes()
        assert (each["bytes"], each["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    (folder / "stranger.json").write_text("{}")
    refused(folder, r"not what was stated.*stranger\.json")


def test_of_a_file_what_lies_beside_it_goes(single: Path) -> None:
    (single.parent / "secret.txt").write_text("not yours")
    plan = run("publish", single, "--repo", "ada/mykit", "--public")
    names = [each["name"] for each in plan["files"]]
    assert names == ["README.md", "mykit.LICENSE.md", "mykit.dsse.json", "mykit.safetensors"]
    assert plan["private"] is False
    shown = CliRunner().invoke(app, ["publish", str(single), "--repo", "ada/mykit"], catch_exceptions=False)
    assert shown.exit_code == 0
    for words in (
        "Would go to ada/mykit (private)",
        "Nothing was sent",
        "own_recording",
        "the-licence-of-these",
    ):
        assert words in shown.output


def test_without_card_or_licence_it_is_refused(road: Road, single: Path, tmp_path: Path) -> None:
    licence, card = single.with_name("mykit.LICENSE.md"), single.with_name("mykit.md")
    licence.write_text(LICENCE + "And sell it all.")
    refused(single, "is not the base's any more")
    licence.unlink()
    refused(single, "is not there any more")
    text = card.read_text()
    card.write_text(text.replace("mykit.LICENSE.md: ", "../mykit.LICENSE.md: "))
    refused(single, "names a licence file elsewhere")
    card.write_text(text.replace("mykit.LICENSE.md: ", "secret.txt: "))
    refused(single, "names as a licence what is not called one")
    card.write_text("---\nwoodshed: {licences: {}}\n---\n")
    refused(single, "has no licence file of its base")
    for damaged in ("", "no metadata", "---\n[\n---\n", "---\n- 1\n---\n"):
        card.write_text(damaged)
        refused(single, "cannot be read|no licence file")
    refused(card, "There is no export")
    card.unlink()
    refused(single, "has no model card")
    refused(tmp_path / "nothing", "There is no export")
    refused(road.run, "has no model card")


def test_what_was_tampered_with_is_refused(single: Path, tmp_path: Path) -> None:
    content = bytearray(single.read_bytes())
    content[-1] ^= 1
    single.write_bytes(content)
    refused(single, "not what was stated .tensors.")
    content[-1] ^= 1
    single.write_bytes(content)
    run("publish", single, "--repo", "ada/mykit")
    card = single.with_name("mykit.md")
    card.rename(tmp_path / "elsewhere")
    card.symlink_to(tmp_path / "elsewhere")
    refused(single, "is a link")


def test_what_says_nothing_sensible_of_rights_is_refused(tiny_base_folder: Path, tmp_path: Path) -> None:
    """A header of somebody else's: no statement, and claims of any form."""
    base = tmp_path / "base"
    shutil.copytree(tiny_base_folder, base)
    (base / "LICENSE").write_text("Be kind.")
    run("licence", base, "--accept", "--name", "Ada")
    for number, claims in enumerate(({"rights": {"bases": 5}}, {"rights": {}}, {"rights": [1]})):
        folder = make_run(tmp_path / f"run-{number}", base)
        path = folder / "adapter" / "adapter_model.safetensors"
        with safe_open(path, "pt") as file:
            header = file.metadata()
            card = json.loads(header["woodshed"])
            del card["tensors_sha256"]
            header["woodshed"] = json.dumps(card | {"provenance": claims})
        save_file(load_file(path), path, header)
        out = tmp_path / f"{number}.safetensors"
        done = ["export", str(folder), "--to", "comfyui", "--out", str(out)]
        with contextlib.suppress(WoodshedError):
            CliRunner().invoke(app, done, catch_exceptions=False)
        assert out.is_file()
        refused(out, "no model card|is not in the form|Nothing is recorded")


@pytest.mark.parametrize(
    "repo", ["mykit", "a/b/c", "ada/my kit", "ada/..", "../ada", "ada/", "ada/my--kit", "ädä/kit"]
)
def test_what_names_no_repository_is_refused(single: Path, repo: str) -> None:
    with pytest.raises(WoodshedError, match="not the name of a repository"):
        CliRunner().invoke(app, ["publish", str(single), "--repo", repo], catch_exceptions=False)


def test_rights_decide(road: Road, tiny_base_folder: Path, tmp_path: Path) -> None:
    """A recording that is withdrawn, and an adapter of which nothing is recorded."""
    copied = road.copy(tmp_path)
    out = copied.run / "export" / "mykit.safetensors"
    run("export", copied.run, "--to", "comfyui", "--out", out)
    run("publish", out, "--repo", "ada/mykit")
    rows = map(json.loads, (copied.run / "training_set.jsonl").read_text().splitlines())
    taken = copied.takes / Path(next(row for row in rows if row["split"] == "train")["recording"]).name
    run("withdraw", taken, "--dataset", copied.dataset, "--runs", copied.run.parent)
    refused(out, "a clip may not be used .rights.: .* was withdrawn")
    base = tmp_path / "base"
    shutil.copytree(tiny_base_folder, base)
    (base / "LICENSE").write_text("Be kind.")
    run("licence", base, "--accept", "--name", "Ada")
    unknown = make_run(tmp_path / "unknown", base)
    run("export", unknown, "--to", "comfyui", "--out", tmp_path / "b.safetensors")
    refused(tmp_path / "b.safetensors", "Nothing is recorded of the rights")


class Taking(BaseHTTPRequestHandler):
    """As much of the Hub as takes a commit."""

    status: int
    public: bool
    asked: list[tuple[str, dict[str, Any]]]
    taken: dict[str, bytes]
    stored: dict[str, bytes]

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.answer({"id": "ada/mykit", "sha": "0" * 40, "private": not self.public, "siblings": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/api/validate-yaml") and b"instance_prompt: bad" in body:
            type(self).status = 400
            self.answer({"errors": [{"message": '"instance_prompt" is bad'}]})
        elif self.path.endswith("/api/repos/create"):
            self.asked.append((self.path, json.loads(body)))
            self.answer({"url": f"{constants.ENDPOINT}/ada/mykit", "id": "ada/mykit", "name": "ada/mykit"})
        elif "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": self.mode(f["path"]), "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        elif self.path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            self.answer({"transfer": "basic", "objects": [each | self.place(each["oid"]) for each in wanted]})
        elif "/commit/" in self.path:
            for line in body.splitlines():
                row = json.loads(line)
                if row["key"] == "file":
                    self.taken[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
                elif row["key"] == "lfsFile":
                    self.taken[row["value"]["path"]] = self.stored[row["value"]["oid"]]
            self.answer(
                {
                    "commitUrl": f"{constants.ENDPOINT}/ada/mykit/commit/0",
                    "commitOid": "0" * 40,
                    "success": True,
                }
            )
        else:
            self.answer({})

    def do_PUT(self) -> None:
        self.stored[self.path.rpartition("/")[2]] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({})

    def mode(self, path: str) -> str:
        return "lfs" if path.endswith(".safetensors") else "regular"

    def place(self, oid: str) -> dict[str, Any]:
        return {"actions": {"upload": {"href": f"{constants.ENDPOINT}/stored/{oid}"}}}

    def answer(self, found: dict[str, Any]) -> None:
        content = json.dumps(found).encode()
        self.send_response(self.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Taking]]:
    hub = type("Hub", (Taking,), {"status": 200, "public": False, "asked": [], "taken": {}, "stored": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # large files by LFS, as the server here takes
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
    refused(single, "is there already, and private", "--yes", "--public")
    hub.public = True
    refused(single, "is there already, and public", "--yes")
    assert hub.taken == {}
    assert run("publish", single, "--repo", "ada/mykit", "--yes", "--public")["private"] is False


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "hf auth login"), (403, "may not write"), (404, "no such owner"), (500, "answered 500")],
)
def test_what_the_hub_refuses_is_a_sentence(single: Path, hub: type[Taking], status: int, words: str) -> None:
    hub.status = status
    refused(single, words, "--yes")


def test_a_card_that_the_hub_does_not_take_is_a_sentence(single: Path, hub: type[Taking]) -> None:
    card = single.with_name("mykit.md")
    card.write_text(card.read_text().replace("instance_prompt: mykit", "instance_prompt: bad"))
    refused(single, 'does not take the head of the model card: .*"instance_prompt" is bad', "--yes")
    assert hub.taken == {}


def test_without_a_token_or_offline_nothing_is_asked(
    single: Path, hub: type[Taking], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    refused(single, "there is no token here.*hf auth login", "--yes")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(single, "HF_HUB_OFFLINE is set", "--yes")
    assert hub.asked == []


def test_a_hub_that_cannot_be_reached_is_a_sentence(
    single: Path, hub: type[Taking], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free_port()}")
    refused(single, "cannot be reached", "--yes")


def test_a_file_that_changes_meanwhile_is_not_sent(single: Path, hub: type[Taking]) -> None:
    plan = plan_upload(single, "ada/mykit", public=False)
    single.write_bytes(b"another")
    with pytest.raises(WoodshedError, match="was changed while"):
        send(plan)
    assert (hub.asked, hub.taken) == ([], {})
