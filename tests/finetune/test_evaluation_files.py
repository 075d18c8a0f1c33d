"""The folder of an evaluation: what is written is read back; damage is a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from finetune.audio_files import read_audio
from finetune.errors import WoodshedError
from finetune.evaluation.files import read_evaluation, write_evaluation
from tests.finetune.evaluations import RATE, evaluation_of, silent_about_held_out, write_sample


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    for evaluation in (evaluation_of(), silent_about_held_out()):
        write_sample(tmp_path, evaluation)
        assert read_evaluation(tmp_path) == evaluation
        assert {path.name for path in tmp_path.iterdir()} == {"evaluation"}
        for sound in evaluation.sounds:
            heard = read_audio(tmp_path / "evaluation" / sound.file, RATE, 10)
            assert heard.shape == (2, round(sound.seconds * RATE))
        files = {path.name for path in (tmp_path / "evaluation" / "audio").iterdir()}
        assert files == {Path(sound.file).name for sound in evaluation.sounds}


def test_an_evaluation_that_fails_leaves_the_earlier_one(tmp_path: Path) -> None:
    before = write_sample(tmp_path)
    with pytest.raises(ValueError, match="named and not given"):
        write_evaluation(tmp_path, evaluation_of(), [], RATE)
    assert read_evaluation(tmp_path) == before
    assert [path.name for path in tmp_path.iterdir()] == ["evaluation"]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"run": 1}', "{"])
def test_damage_is_a_sentence_with_the_cure(text: str, tmp_path: Path) -> None:
    write_sample(tmp_path)
    (tmp_path / "evaluation" / "evaluation.json").write_text(text, encoding="utf-8")
    with pytest.raises(WoodshedError, match=r"damaged.*woodshed evaluate"):
        read_evaluation(tmp_path)


def test_none_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(WoodshedError, match="has no evaluation; make it with: woodshed evaluate"):
        read_evaluation(tmp_path)


def test_sounds_are_stereo_floats_within_full_scale(tmp_path: Path) -> None:
    write_sample(tmp_path)
    heard = read_audio(tmp_path / "evaluation" / "audio" / "set-1-base.flac", RATE, 10)
    assert np.abs(heard).max() <= 1 and heard.any()
