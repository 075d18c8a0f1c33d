"""The card of an export: read by the Hub's own reader, true to what was exported, and words of others stay words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from evaluations import evaluation_of, write_sample
from huggingface_hub import ModelCard
from provenance_run import Road, walk
from test_export import make_run
from typer.testing import CliRunner

from finetune.adapter.folder import read_card as read_header
from finetune.cli import app
from finetune.errors import WoodshedError
from finetune.model_card.licences import credit_passages
from finetune.model_card.markdown import as_markdown, code

LICENCE = "# The Licence of These Weights\n\nBe kind.\n\nYou must prominently\ndisplay “Powered by Ada”.\n\nThe end.\n"
TERMS = "Gemma's own terms.\n"
HOSTILE = 'a "kit" <script>x</script> | `b` [c](http://d)\n---\n# e: {f} ${{ g }} \u202e'


@pytest.fixture(scope="module")
def road(tiny_base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Road]:
    """A trained, signed run on a base with a licence and one of its text encoder, accepted by Ada."""
    root = tmp_path_factory.mktemp("card")
    base = root / "base"
    shutil.copytree(tiny_base_folder, base)
    (base / "LICENSE.md").write_text(LICENCE)
    (base / "text_encoder" / "LICENSE").write_text(TERMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WOODSHED_CONFIG", str(root / "config"))
        run("licence", base, "--accept", "--name", "Ada Lovelace")
        yield walk(root, base, root / "config", patch)


def run(*arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


PROGRAMS = {
    "peft": 'PeftModel.from_pretrained(pipeline.transformer, "mykit")',
    "diffusers": 'load_lora_adapter(".", weight_name="mykit.safetensors"',
    "stable-audio-3": "--lora-ckpt-path mykit.safetensors",
    "comfyui": "LoraLoaderModelOnly",
    "merged": 'StableAudio3Pipeline.from_pretrained("mykit")',
}


@pytest.mark.parametrize("to", PROGRAMS)
def test_every_export_has_a_card_that_the_hub_reads(road: Road, tmp_path: Path, to: str) -> None:
    is_folder = to in ("peft", "merged")
    out = tmp_path / ("mykit" if is_folder else "mykit.safetensors")
    done = run("export", road.run, "--to", to, "--out", out, "--trigger", "mykit")
    assert Path(done["card"]) == (out / "README.md" if is_folder else tmp_path / "mykit.md")
    card = ModelCard.load(done["card"])
    said = card.data.to_dict()
    assert (said["license"], said["license_name"]) == ("other", "the-licence-of-these-weights")
    assert (said["pipeline_tag"], said["instance_prompt"]) == ("text-to-audio", "mykit")
    assert ("lora" in said["tags"]) == (to != "merged")
    folder = out if is_folder else tmp_path
    assert (folder / said["license_link"]).read_bytes() == LICENCE.encode()
    assert {Path(each).read_text() for each in done["licences"]} == {LICENCE, TERMS}
    assert set(said["woodshed"]["licences"]) == {
        Path(each).relative_to(folder).as_posix() for each in done["licences"]
    }
    claims = read_header(road.run / "adapter")["provenance"]
    for words in (
        PROGRAMS[to],
        r"own\_recording: ",
        f"| recipe, SHA-256 | {claims['recipe_sha256']} |",
        "| rank | 4 |",
        "| steps | 6 |",
        "You must prominently\ndisplay “Powered by Ada”.",
        "woodshed verify mykit",
        "--trust ",
    ):
        assert words in card.text
    for secret in (road.run.parent, road.base.parent, tmp_path, "Lovelace", "The end."):
        assert str(secret) not in card.content


def test_without_a_card_there_is_the_file_and_its_statement(road: Road, tmp_path: Path) -> None:
    out = tmp_path / "mykit.safetensors"
    assert run("export", road.run, "--to", "comfyui", "--out", out, "--no-card")["card"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mykit.dsse.json", "mykit.safetensors"]


def test_a_file_of_the_users_own_is_not_replaced(road: Road, tmp_path: Path) -> None:
    (tmp_path / "mykit.md").write_text("my notes")
    words = ["export", str(road.run), "--to", "comfyui", "--out", str(tmp_path / "mykit.safetensors")]
    with pytest.raises(WoodshedError, match=r"mykit\.md' already.*--no-card"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mykit.md"]
    assert (tmp_path / "mykit.md").read_text() == "my notes"


def test_an_evaluation_is_told_where_it_is_of_this_adapter(road: Road, tmp_path: Path) -> None:
    copied = road.copy(tmp_path)
    header = read_header(copied.run / "adapter")
    found = replace(evaluation_of(), step=header["step"], base_fingerprint=header["base_fingerprint"])
    write_sample(copied.run, found)
    one = run("export", copied.run, "--to", "comfyui", "--out", tmp_path / "a.safetensors")
    text = Path(one["card"]).read_text()
    assert f"| Does it do anything? | {found.effect.verdict} |" in text
    assert f"| {found.copied.verdict} | At least one sound" in text
    assert not any(copy.recording in text for copy in found.copied.nearest), "names of recordings stay"
    write_sample(copied.run, replace(found, step=header["step"] + 1))
    other = run("export", copied.run, "--to", "comfyui", "--out", tmp_path / "b.safetensors")
    assert "Measured" not in Path(other["card"]).read_text()


def test_the_starter_is_under_apache_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository of that name is on the Hub, so that the metadata name none; without --base the one that is
    recorded is found."""
    monkeypatch.setenv("WOODSHED_CONFIG", str(tmp_path / "config"))
    folder = tmp_path / "runs" / "mykit"
    make_run(folder, find_starter())
    header = json.loads(json.dumps(read_header(folder / "adapter")))
    assert header["base"] == "weights"  # a folder's name; as `starter` it is known anywhere
    (folder / "recipe.yaml").write_text("base:\n  model: starter\n")
    done = run("export", folder, "--to", "stable-audio-3", "--out", tmp_path / "a.safetensors")
    said = ModelCard.load(done["card"]).data.to_dict()
    assert said["license"] == "apache-2.0"
    assert "base_model" not in said and "license_name" not in said
    assert Path(done["licences"][0]).read_bytes() == (find_starter() / "LICENSE").read_bytes()
    assert "attribution notices" in Path(done["card"]).read_text()
    assert "Nothing is recorded of what it learned from." in Path(done["card"]).read_text()


@pytest.mark.parametrize(("to", "relation"), [("peft", "adapter"), ("merged", "finetune")])
def test_a_base_of_the_hub_is_linked(tiny_base_folder: Path, tmp_path: Path, to: str, relation: str) -> None:
    base = tmp_path / "small-music-base"
    shutil.copytree(tiny_base_folder, base)
    folder = make_run(tmp_path / "mykit", base)
    said = ModelCard.load(run("export", folder, "--to", to)["card"]).data.to_dict()
    assert said["base_model"] == "stabilityai/stable-audio-3-small-music-base"
    assert said["base_model_relation"] == relation
    assert said["library_name"] == ("peft" if to == "peft" else "diffusers")  # the layout of this base


def find_starter() -> Path:
    from finetune.base_model import find_base

    return find_base("starter")


def test_without_the_base_at_hand_no_licence_is_made_up(road: Road, tmp_path: Path) -> None:
    native = tmp_path / "a.safetensors"
    run("export", road.run, "--to", "stable-audio-3", "--out", native)
    done = run("convert", native, "--to", "diffusers", "--out", tmp_path / "b.safetensors")
    assert done["licences"] == []
    card = ModelCard.load(done["card"])
    assert "license" not in card.data.to_dict()
    assert "There was no licence file" in card.text


def test_hostile_words_are_words(road: Road, tmp_path: Path) -> None:
    out = tmp_path / 'my kit "1" $(id) `x`.safetensors'
    done = run("export", road.run, "--to", "stable-audio-3", "--out", out, "--trigger", HOSTILE)
    content = Path(done["card"]).read_text()
    head, body = content.removeprefix("---\n").split("\n---\n", 1)
    said = yaml.safe_load(head)
    assert said["instance_prompt"] == 'a "kit" <script>x</script> | `b` [c](http://d) --- # e: {f} ${{ g }}'
    assert ModelCard(content).data.to_dict()["instance_prompt"] == said["instance_prompt"]
    assert "<script" not in body and "\u202e" not in content
    assert r"\[c\](http://d)" in body
    assert f"--lora-ckpt-path '{out.name}'" in body


def test_words_act_on_nothing() -> None:
    assert as_markdown("# a\n- b") == r"\# a - b"
    assert as_markdown("1. a_b*c|d") == r"1\. a\_b\*c\|d"
    assert as_markdown("a & <b>") == "a &amp; &lt;b&gt;"
    assert as_markdown(0.5) == "0.5"
    assert code("a\n```\nb", "sh").splitlines()[0] == "````sh"
    assert list(credit_passages(LICENCE)) == [(5, "You must prominently\ndisplay “Powered by Ada”.")]
    assert list(credit_passages("Give no credit")) == [(1, "Give no credit")]
