"""timing.yaml beside recordings, the options of the command, and slices rebuilt from their rows."""

from __future__ import annotations

import hashlib
import json

import drummer
import pytest

import data_prep
from data_prep.files import PrepError
from data_prep.rhythm.timing import read_timing, with_timing
from data_prep.settings import Settings
from data_prep.sound.recording import SAMPLE_RATE


def rows_of(dataset):
    return [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]


def test_what_is_said_of_a_file_goes_before_its_folder_and_the_command(tmp_path):
    (tmp_path / "day").mkdir()
    (tmp_path / "timing.yaml").write_text("bpm: 150-185\nfiles:\n  'take_*.wav': {metre: 7/8, click: true}\n")
    (tmp_path / "day" / "timing.yaml").write_text("files:\n  take_2.wav: {bpm: 92, downbeat: 0.5}\n")
    said = read_timing(tmp_path, ["take_1.wav", "other.wav", "day/take_2.wav"])
    asked = {name: with_timing(Settings(bpm=120.0), says) for name, says in said.items()}
    assert asked["other.wav"] == Settings(bpm_range=(150.0, 185.0))
    assert asked["take_1.wav"] == Settings(bpm_range=(150.0, 185.0), metre="7/8", click=True)
    assert asked["day/take_2.wav"] == Settings(bpm=92.0, metre="7/8", click=True, downbeat=0.5)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("tempo: 92", "'tempo' is not known"),
        ("files: {gone.wav: {bpm: 92}}", "no recording is called 'gone.wav'"),
        ("bpm: fast", "neither a tempo like 92"),
        ("bpm: 9000", "not between 20 and 400"),
        ("metre: [7, 8]", "metre cannot be"),
        ("downbeat: true", "downbeat cannot be"),
        ("click: 3", "click cannot be"),
        ("downbeat: soon", "timing.yaml"),
        ("- 92", "write `bpm: 92`"),
        ("{", "is no valid YAML"),
        ("files: {take.wav: 92}", "write it like"),
        ("!!python/object/apply:os.system [ls]", "is no valid YAML"),
    ],
)
def test_what_makes_no_sense_is_said(content, complaint, tmp_path):
    (tmp_path / "timing.yaml").write_text(content)
    with pytest.raises(PrepError, match=complaint):
        with_timing(Settings(), read_timing(tmp_path, ["take.wav"])["take.wav"])


def test_a_changed_timing_prepares_only_its_recording_again(tmp_path, run_prep):
    for number, bpm in enumerate((100, 110)):
        drummer.write(tmp_path / "takes" / f"t{number}.wav", drummer.play(bpm, bars=4, seed=number).samples)
    dataset = tmp_path / "ds"
    assert run_prep(tmp_path / "takes", dataset, "--bars", "1").code == 0
    (tmp_path / "takes" / "timing.yaml").write_text("files: {t0.wav: {downbeat: 3.0}}\n")
    report = run_prep(tmp_path / "takes", dataset, "--bars", "1", "--json").json
    assert {each["recording"]: each["done_now"] for each in report["recordings"]} == {
        "t0.wav": True,
        "t1.wav": False,
    }
    first = min(row["downbeat_sample"] for row in rows_of(dataset) if row["recording"] == "t0.wav")
    assert first == 3 * SAMPLE_RATE


@pytest.mark.parametrize(
    "options",
    [
        ["--bars", "3", "--tail", "pad", "--downbeat", "1.8", "--pickup", "keep"],
        ["--bars", "3", "--tail", "keep", "--click"],
        ["--slice", "onsets", "--count-in", "keep"],
        ["--slice", "fixed", "--seconds", "2"],
        ["--slice", "whole"],
    ],
)
def test_a_slice_is_rebuilt_from_its_row_and_the_recordings_with_the_same_hash(
    options, library, tmp_path, run_prep
):
    assert run_prep(library, tmp_path / "ds", *options).code == 0
    rows = rows_of(tmp_path / "ds")
    for row in rows[:: max(1, len(rows) // 8)]:
        rebuilt = data_prep.rebuild(row, library)
        assert hashlib.sha256(rebuilt).hexdigest() == row["clip_sha256"]
        assert rebuilt == (tmp_path / "ds" / row["split"] / f"{row['id']}.wav").read_bytes()


def test_a_row_of_another_recording_or_one_outside_is_not_rebuilt(library, tmp_path, run_prep):
    run_prep(library, tmp_path / "ds", "--bars", "1")
    row = rows_of(tmp_path / "ds")[0]
    with pytest.raises(PrepError, match="cannot be rebuilt"):
        data_prep.rebuild(row | {"gain_db": row["gain_db"] + 1}, library)
    for name in ("../secret.wav", str(library / row["recording"]), "gone.wav"):
        with pytest.raises(PrepError, match="is not in"):
            data_prep.rebuild(row | {"recording": name}, library)


def test_the_tempo_of_a_drifting_take_is_told_bar_by_bar(tmp_path, run_prep):
    import numpy as np
    from test_prep_drift import drifting

    samples, beats = drifting(60 / (100 * np.linspace(1.0, 1.08, 48)))
    drummer.write(tmp_path / "takes" / "free.wav", samples)
    assert run_prep(tmp_path / "takes", tmp_path / "ds", "--bars", "4", "--bpm", "80-125").code == 0
    rows = sorted(rows_of(tmp_path / "ds"), key=lambda row: row["start_sample"])
    tempi = [row["fields"]["tempo"]["value"] for row in rows]
    assert tempi == sorted(tempi) and tempi[-1] / tempi[0] == pytest.approx(1.05, abs=0.02)
    recording = json.loads((tmp_path / "ds" / "recordings.jsonl").read_text().splitlines()[0])
    seconds, bpm = zip(*recording["tempo"]["followed"], strict=True)
    assert np.abs(np.array(seconds[:12]) - beats[:48:4]).max() < 0.015
    assert bpm[0] < bpm[10]
