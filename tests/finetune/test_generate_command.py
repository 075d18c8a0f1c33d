"""`woodshed generate` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import soundfile as sf
from typer.testing import CliRunner

from finetune.cli import app
from finetune.errors import WoodshedError


@pytest.fixture
def typed(tiny_base_folder: Path, tmp_path: Path) -> Any:
    """Types `woodshed generate TINY …`, returns its JSON."""

    def run(*arguments: object) -> dict[str, Any]:
        words = ["generate", str(tiny_base_folder), *map(str, arguments), "--json"]
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


def test_count_goes_on_from_the_seed_and_like_makes_one_of_them_again(typed: Any, tmp_path: Path) -> None:
    out = tmp_path / "kick.wav"
    asked = ("-p", "kick", "--seconds", 0.2, "--steps", 2, "--guidance", 2.5, "--negative-prompt", "hat")
    done = typed(*asked, "-o", out, "--count", 3, "--seed", 5, "--batch", 1)
    assert [each["seed"] for each in done["files"]] == [5, 6, 7]
    again = typed("--like", tmp_path / "kick-6.wav", "-o", tmp_path / "again.wav")
    assert again["differs"] == []
    assert (tmp_path / "again.wav").read_bytes() == (tmp_path / "kick-6.wav").read_bytes()
    longer = typed("--like", tmp_path / "kick-6.wav", "-o", tmp_path / "longer.wav", "--seconds", 0.3)
    assert (longer["seed"], longer["seconds"], longer["guidance"]) == (6, 0.3, 2.5)


def test_every_option_reaches_the_sound(typed: Any, tmp_path: Path) -> None:
    sf.write(tmp_path / "take.wav", [[0.1, -0.1]] * 9000, 44100)
    done = typed(
        "-p", "kick", "-o", tmp_path / "x.flac", "--seconds", 0.3, "--seed", 1, "--seed", 9, "--steps", 2,
        "--guidance", 3, "--sampler", "dpmpp", "--init", tmp_path / "take.wav", "--noise", 0.9, "--keep", "0-.05",
        "--keep", ".1-", "--no-splice", "--piece", 60, "--headroom", 1, "--bits", 16,
    )  # fmt: skip
    assert [Path(each["file"]).name for each in done["files"]] == ["x-1.flac", "x-9.flac"]
    said = {
        "seconds": 0.3, "steps": 2, "guidance": 3.0, "sampler": "dpmpp", "noise": 0.9, "keep": ["0-.05", ".1-"],
        "splice": False, "seconds_total": 60.0, "headroom_seconds": 1.0,
    }  # fmt: skip
    assert done | said == done
    assert sf.info(tmp_path / "x-9.flac").subtype == "PCM_16"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Say what you want to hear"),
        (("-p", "kick", "--seed", "1", "--seed", "2", "--count", "2"), "--count goes on from one --seed"),
        (("-p", "kick", "--like", "nowhere.wav"), "does not say how it was made"),
        (("-p", "kick", "--adapter", "nowhere:x"), "There is no adapter 'nowhere:x'"),
        (("-p", "kick", "--adapter", "kit:nan"), "out of range"),
    ],
)
def test_wrong_options_are_sentences(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(WoodshedError, match=words):
        CliRunner().invoke(
            app, ["generate", "starter", "-o", str(tmp_path / "x.wav"), *arguments], catch_exceptions=False
        )
