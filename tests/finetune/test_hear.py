"""From the name of a run, an adapter or a base to a file."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from finetune.adapter import read_card
from finetune.errors import WoodshedError
from finetune.generate import Request
from finetune.hear import base_of, hear, is_base
from finetune.recipe import Recipe
from finetune.trainer import RunResult, train

ASKED = Request("kick snare", 0.3, seed=4, steps=2)


@pytest.fixture
def run(recipe: Recipe) -> RunResult:
    return train(recipe)


def test_a_run_knows_its_base_and_its_adapter_shares_no_path(
    run: RunResult, tiny_base_folder: Path, tmp_path: Path
) -> None:
    assert base_of(run.adapter) == str(tiny_base_folder)
    card = read_card(run.adapter)
    assert card["base"] == tiny_base_folder.name
    assert str(tmp_path) not in str(card)
    alone = tmp_path / "elsewhere" / "adapter"
    shutil.copytree(run.adapter, alone)
    with pytest.raises(WoodshedError, match="name its folder with --base"):
        base_of(alone)
    written = hear(str(alone), ASKED, tmp_path / "alone.wav", base=str(tiny_base_folder))
    assert written["base"] == str(tiny_base_folder)
    hear(str(run.run), ASKED, tmp_path / "run.wav")
    assert np.array_equal(sf.read(tmp_path / "alone.wav")[0], sf.read(tmp_path / "run.wav")[0])


def test_strength_zero_writes_the_bases_file(run: RunResult, tiny_base_folder: Path, tmp_path: Path) -> None:
    hear(str(run.run), ASKED, tmp_path / "zero.wav", strength=0)
    hear(str(tiny_base_folder), ASKED, tmp_path / "base.wav")
    assert (tmp_path / "zero.wav").read_bytes() == (tmp_path / "base.wav").read_bytes()


def test_an_adapter_of_excerpts_is_asked_for_an_excerpt(
    recipe: Recipe, tiny_base_folder: Path, tmp_path: Path
) -> None:
    recipe.data.length = "excerpt"
    run = str(train(recipe).run)
    assert hear(run, ASKED, tmp_path / "one.wav")["seconds_total"] == 60.0, "the recordings' length"
    assert hear(run, ASKED, tmp_path / "zero.wav", strength=0)["seconds_total"] is None
    hear(str(tiny_base_folder), ASKED, tmp_path / "base.wav")
    assert (tmp_path / "zero.wav").read_bytes() == (tmp_path / "base.wav").read_bytes()


def test_bases_are_told_from_adapters(run: RunResult, tiny_base_folder: Path, tmp_path: Path) -> None:
    assert is_base("starter")
    assert is_base(str(tiny_base_folder))
    assert not is_base(str(run.run))
    with pytest.raises(WoodshedError, match="is itself a base"):
        hear("starter", ASKED, tmp_path / "x.wav", base="other")
