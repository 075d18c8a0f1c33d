"""Reading a dataset: strict, light, and without torchcodec."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import drummer
import numpy as np
import pytest

import data_prep
from data_prep.dataset import DatasetError, clips, read_audio


def one_clip(folder: Path, **changed) -> Path:
    """A dataset of one clip, its row changed as told; a value of None deletes the key."""
    row = {
        "id": "take-0001-00000000",
        "split": "train",
        "recording": "take.wav",
        "clip_sha256": "0" * 64,
        "text": "a loop",
        "captions": ["a loop", "another loop"],
        "seconds": 1.0,
        "recording_seconds": 8.0,
    }
    drummer.write(folder / "train" / "take-0001-00000000.wav", np.full((2, 44_100), 0.25), subtype="PCM_24")
    row = {key: value for key, value in (row | changed).items() if value is not None}
    (folder / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_a_row_becomes_a_clip(tmp_path):
    (clip,) = clips(one_clip(tmp_path))
    assert (clip.id, clip.split, clip.text, clip.seconds) == ("take-0001-00000000", "train", "a loop", 1.0)
    assert clip.captions == ("a loop", "another loop")
    assert clip.recording_seconds == 8.0
    assert read_audio(clip.path) == pytest.approx(np.full((2, 44_100), 0.25), abs=1e-6)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"id": "../../secret"}, "leads out of the dataset"),
        ({"id": "gone"}, "is not there"),
        ({"text": "  "}, r"caption \(text\) is empty"),
        ({"captions": ["a loop", ""]}, "one of the captions"),
        ({"split": "test"}, "none of train"),
        ({"seconds": 0}, "not a length above 0"),
        ({"seconds": True}, "not a length above 0"),
        ({"recording": None}, "recording is missing"),
    ],
)
def test_a_row_that_is_wrong_is_named_with_the_cure(changed, words, tmp_path):
    with pytest.raises(DatasetError, match=words) as error:
        clips(one_clip(tmp_path, **changed))
    assert "row 1" in str(error.value)
    assert "run prep again" in str(error.value) or "delete it" in str(error.value)


@pytest.mark.parametrize("line", ["{not json", '["a", "list"]'])
def test_a_line_that_is_no_row_is_named(line, tmp_path):
    one_clip(tmp_path)
    with (tmp_path / "manifest.jsonl").open("a") as file:
        file.write("\n" + line)
    with pytest.raises(DatasetError, match="row 3"):
        clips(tmp_path)


def test_an_id_that_is_there_twice_is_named(tmp_path):
    manifest = one_clip(tmp_path) / "manifest.jsonl"
    manifest.write_text(manifest.read_text() * 2)
    with pytest.raises(DatasetError, match="there twice"):
        clips(tmp_path)


def test_a_folder_without_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(DatasetError, match="woodshed prep"):
        clips(tmp_path)


def test_a_clip_of_another_rate_is_refused(tmp_path):
    path = drummer.write(tmp_path / "x.wav", np.zeros((2, 100)), sample_rate=48_000)
    with pytest.raises(DatasetError, match="48000 Hz"):
        read_audio(path)


def test_what_was_left_out_is_read_only_when_asked_for(tmp_path):
    dataset = one_clip(tmp_path, split="left_out")
    (dataset / "train").rename(dataset / "left_out")
    assert clips(dataset) == []
    assert len(clips(dataset, "left_out")) == 1


def test_load_decodes_rows_when_they_are_read(library, tmp_path, run_prep):
    run_prep(library, tmp_path / "ds", "--bars", "2")
    dataset = data_prep.load(tmp_path / "ds")
    assert len(dataset) == len(clips(tmp_path / "ds"))
    row = dataset[0]
    assert row["audio"]["array"].dtype == np.float32
    assert row["audio"]["array"].shape == (2, round(row["seconds"] * 44_100))
    assert row["audio"]["sampling_rate"] == 44_100
    assert [each.shape[0] for each in (audio["array"] for audio in dataset[:2]["audio"])] == [2, 2]
    assert dataset["text"][:1] == [row["text"]]
    held_out = data_prep.load(tmp_path / "ds", "validation")
    assert set(held_out["split"]) == {"validation"}


def test_load_of_an_empty_split_says_so(tmp_path):
    with pytest.raises(DatasetError, match="no clips in validation"):
        data_prep.load(one_clip(tmp_path), "validation")


def test_reading_a_dataset_imports_nothing_heavy():
    heavy = (
        "{'torch', 'librosa', 'datasets', 'scipy', 'transformers', 'numba', 'pyloudnorm', 'rich.progress'}"
    )
    script = f"import sys, data_prep.dataset, data_prep.command; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
