"""The starter's rights manifest and model card: from Woodshed's own preparation of clips that can be rendered again."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from data_prep.sound.recording import decode
from finetune.base_model import find_base
from finetune.base_model.starter import card
from finetune.base_model.starter.card import EXAMPLES_OF_A_KIT, RIGHTS, generator_sha256, write_card


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the trainings with configurations alone, and what write_card made of it."""
    folder = tmp_path_factory.mktemp("work")
    source = find_base("starter")
    for config in source.rglob("*.json"):
        copy = folder / "weights" / config.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(config, copy)
    (folder / "fields.json").write_text(json.dumps([{"seconds": 1800.0}, {"seconds": 5400.0}]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card, "EXAMPLE_KITS", (1,))
        write_card(folder, kits=7, autoencoder_kits=3)
    return folder


def rows_of(work: Path) -> list[dict]:
    return [json.loads(line) for line in (work / "weights" / "rights.jsonl").read_text().splitlines()]


def test_the_statement_is_preps_own_and_says_what_it_covers(work: Path) -> None:
    statement = rows_of(work)[0]
    kept = json.loads((work / "dataset" / "rights.jsonl").read_text())
    assert kept == {name: statement[name] for name in kept}
    assert (statement["rights"], statement["basis"], statement["weights_licence"]) == (
        RIGHTS.key,
        "own_recording",
        "Apache-2.0",
    )
    covers = statement["covers"]
    assert (covers["kits"], covers["autoencoder_kits"], covers["clips"], covers["hours"]) == (7, 3, 2, 2.0)
    assert covers["generator_sha256"] == generator_sha256()


def test_examples_can_be_rendered_again(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(work)[1:]
    assert len(rows) == sum(EXAMPLES_OF_A_KIT.values())
    monkeypatch.setattr(card, "EXAMPLE_KITS", (1,))
    again = card.write_examples(tmp_path / "again")
    for row in rows:
        assert again[row["recording"]] == (row["kit"], row["clip"])
        assert decode(tmp_path / "again" / row["recording"]).pcm_sha256 == row["pcm_sha256"]


def test_prep_hears_in_the_examples_what_their_names_say(work: Path) -> None:
    for row in rows_of(work)[1:]:
        if stated := re.search(r"loop of .*, (\d+) bpm", row["recording"]):
            assert abs(float(re.search(r"BPM: ([\d.]+)", row["text"])[1]) / float(stated[1]) - 1) < 0.04
        if "one-shot" in row["recording"]:
            assert "one-shot" in row["text"]


def test_the_card_has_the_front_matter_of_the_hub(work: Path) -> None:
    _, front, text = (work / "weights" / "README.md").read_text().split("---\n", 2)
    matter = yaml.safe_load(front)
    assert (matter["license"], matter["library_name"], matter["pipeline_tag"]) == (
        "apache-2.0",
        "diffusers",
        "text-to-audio",
    )
    assert "AutoencoderSAME" in text and "7 kits, 2 clips, 2 hours" in text and generator_sha256() in text
    for heading in ("Use", "Fine-tune", "What it learned from", "Rights", "Limits"):
        assert f"\n## {heading}\n" in text
    assert "{" not in text


def test_the_hash_changes_with_the_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    before = generator_sha256()
    monkeypatch.setattr(card, "SOURCES", card.SOURCES[:-1])
    assert generator_sha256() != before
    package = Path(card.__file__).parent
    trainings = {
        "__init__.py",
        "geometry.py",
        "transform.py",
        "stereo.py",
        "mixes.py",
        "sitting.py",
        "words.py",
        "encoded.py",
        "card.py",
    }
    trainings |= {"library.py", "rhythm.py", "train_autoencoder.py", "train_diffusion.py"}
    monkeypatch.undo()
    assert set(card.SOURCES) == {p.name for p in package.glob("*.py")} - trainings
