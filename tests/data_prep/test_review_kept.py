"""Reviewed rows survive whatever prep is asked for afterwards."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import drummer
import pytest
from reviewing import manifest, reviewing

from data_prep.dataset import clips
from data_prep.decisions import AWAY, OVERLAP
from data_prep.review.journal import JOURNAL
from data_prep.slicing.clip import clip_wav, span_of
from data_prep.sound.recording import decode

RERUNS = (
    ("--bars", "2"),
    ("--bars", "1", "--trigger", "otherkit"),
    ("--bars", "3", "--bpm", "60-90"),
    ("--slice", "onsets"),
    ("--slice", "phrases"),
    ("--slice", "whole"),
    ("--slice", "fixed", "--seconds", "1.5"),
    ("--bars", "1", "--metre", "3/4"),
    ("--bars", "16"),
    ("--bars", "1", "--validation", "0.5"),
)
"""Ten, of which one (16 bars) is too long for every recording."""


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """Two short takes, for they are prepared many times over; tests must not change it."""
    folder = tmp_path_factory.mktemp("short")
    drummer.write(folder / "backbeat_110.wav", drummer.play(110, bars=5, seed=1).samples)
    seven = drummer.play(150, bars=4, pattern=drummer.SEVEN_EIGHT, quarter_notes=3.5, seed=2)
    drummer.write(folder / "odd" / "seven_eight_150.flac", seven.samples)
    return folder


@pytest.fixture(scope="module")
def reviewed(library, tmp_path_factory, run_prep) -> tuple[Path, dict[str, str]]:
    """A dataset with one slice of each kind of decision: kind -> id."""
    dataset = tmp_path_factory.mktemp("kept") / "ds"
    assert run_prep(library, dataset, "--bars", "1").code == 0
    with reviewing(dataset, library) as page:
        rows = page.get("/api/rows").json["rows"]
        accepted, edited, rejected, moved = (row["id"] for row in rows[1:5])
        page.act("verdict", versions={accepted: 0}, verdict="accepted")
        page.act("caption", id=edited, version=0, text="words of my own")
        page.act("verdict", versions={rejected: 0}, verdict="rejected")
        row = page.row(moved)
        page.act("cut", id=moved, version=0, start=row["start"] + 4000, end=row["end"] - 4000)
    return dataset, {"accepted": accepted, "edited": edited, "rejected": rejected, "moved": moved}


def as_decided(row: dict) -> dict:
    """Without what belongs to the preparation: the side that its recording is on."""
    return {key: value for key, value in row.items() if key not in ("split", "was_split", "rights")}


def test_ten_runs_with_other_settings_keep_every_decision(reviewed, library, tmp_path, run_prep):
    dataset = shutil.copytree(reviewed[0], tmp_path / "ds")
    ids = reviewed[1]
    before = {row_id: as_decided(row) for row_id, row in manifest(dataset).items() if row_id in ids.values()}
    sounds = {row_id: row["clip_sha256"] for row_id, row in before.items()}
    for options in RERUNS:
        result = run_prep(library, dataset, *options, "--json")
        assert result.code in (0, 3), result.err
        rows = manifest(dataset)
        assert {row_id: as_decided(rows[row_id]) for row_id in before} == before, options
        assert rows[ids["rejected"]]["split"] == "left_out"
        trained = {clip.id: clip for clip in clips(dataset)}
        assert ids["rejected"] not in trained
        assert trained[ids["edited"]].text == "words of my own"
        for row_id in before:
            wav = dataset / rows[row_id]["split"] / f"{row_id}.wav"
            assert hashlib.sha256(wav.read_bytes()).hexdigest() == sounds[row_id]
            assert [path.parent.name for path in dataset.glob(f"*/{row_id}.wav")] == [rows[row_id]["split"]]
        assert_no_new_slice_on_a_reviewed_one(rows, set(before))
        again = run_prep(library, dataset, *options, "--json").json
        assert again["changed"] is False and not any(each["done_now"] for each in again["recordings"])


def assert_no_new_slice_on_a_reviewed_one(rows: dict[str, dict], reviewed: set[str]) -> None:
    for row_id in reviewed:
        one = rows[row_id]
        for other in rows.values():
            if other["recording"] != one["recording"] or other["id"] in reviewed:
                continue
            shared = min(one["end_sample"], other["end_sample"]) - max(
                one["start_sample"], other["start_sample"]
            )
            shorter = min(each["end_sample"] - each["start_sample"] for each in (one, other))
            assert shared < OVERLAP * shorter


def test_what_is_not_taken_for_them_is_said(reviewed, library, tmp_path, run_prep):
    dataset = shutil.copytree(reviewed[0], tmp_path / "ds")
    said = " ".join(run_prep(library, dataset, "--bars", "2", "--json").json["warnings"])
    assert "4 reviewed slices stay as they are" in said
    assert "in their place are not taken" in said
    said = " ".join(run_prep(library, dataset, "--bars", "16", "--json").json["warnings"])
    assert "has its reviewed slices and no new ones" in said


def test_the_same_settings_take_nothing_away(reviewed, library, tmp_path, run_prep):
    dataset = shutil.copytree(reviewed[0], tmp_path / "ds")
    before = set(manifest(dataset))
    report = run_prep(library, dataset, "--bars", "1", "--json").json
    assert set(manifest(dataset)) == before
    assert "not taken" not in " ".join(report["warnings"])
    assert not (dataset / JOURNAL).exists()


def test_reviewed_slices_go_with_their_recording_and_come_back_with_it(reviewed, library, tmp_path, run_prep):
    dataset = shutil.copytree(reviewed[0], tmp_path / "ds")
    recordings = shutil.copytree(library, tmp_path / "library")
    before = manifest(dataset)
    name = before[reviewed[1]["moved"]]["recording"]
    (recordings / name).rename(tmp_path / "elsewhere")
    for _ in range(2):
        report = run_prep(recordings, dataset, "--bars", "1", "--json").json
        assert "went with their recordings" in " ".join(report["warnings"])
        assert reviewed[1]["moved"] not in manifest(dataset)
        assert not list(dataset.glob(f"*/{reviewed[1]['moved']}.*"))
    (tmp_path / "elsewhere").rename(recordings / name)
    assert run_prep(recordings, dataset, "--bars", "2").code == 0
    after = manifest(dataset)
    for row_id in reviewed[1].values():
        assert as_decided(after[row_id]) == as_decided(before[row_id])
        wav = dataset / after[row_id]["split"] / f"{row_id}.wav"
        assert hashlib.sha256(wav.read_bytes()).hexdigest() == before[row_id]["clip_sha256"]
    assert not (dataset / AWAY).exists()


def test_a_lost_sound_of_a_reviewed_slice_is_cut_again(reviewed, library, tmp_path, run_prep):
    dataset = shutil.copytree(reviewed[0], tmp_path / "ds")
    row = manifest(dataset)[reviewed[1]["moved"]]
    wav = dataset / row["split"] / f"{row['id']}.wav"
    wav.unlink()
    assert run_prep(library, dataset, "--bars", "2").code == 0
    now = manifest(dataset)[row["id"]]
    content = next(dataset.glob(f"*/{row['id']}.wav")).read_bytes()
    assert content == clip_wav(decode(library / now["recording"]).samples, span_of(now), now["gain_db"])
    assert hashlib.sha256(content).hexdigest() == row["clip_sha256"]


def test_a_renamed_recording_keeps_its_reviews(reviewed, library, tmp_path, run_prep):
    dataset = shutil.copytree(reviewed[0], tmp_path / "ds")
    recordings = shutil.copytree(library, tmp_path / "library")
    name = manifest(dataset)[reviewed[1]["edited"]]["recording"]
    (recordings / name).rename(recordings / "another_name.wav")
    assert run_prep(recordings, dataset, "--bars", "1").code == 0
    row = manifest(dataset)[reviewed[1]["edited"]]
    assert (row["recording"], row["text"]) == ("another_name.wav", "words of my own")


def test_reviews_that_the_manifest_does_not_hold_yet_are_taken_over(reviewed, library, tmp_path, run_prep):
    """A page that was killed, and prep after it."""
    dataset = shutil.copytree(reviewed[0], tmp_path / "ds")
    old = (dataset / "manifest.jsonl").read_bytes()
    with reviewing(dataset, library) as page:
        row = page.row(reviewed[1]["accepted"])
        page.act("cut", id=row["id"], version=row["version"], start=row["start"], end=row["end"] - 9000)
    (dataset / "manifest.jsonl").write_bytes(old)
    assert run_prep(library, dataset, "--bars", "2").code == 0
    now = manifest(dataset)[row["id"]]
    assert now["end_sample"] == row["end"] - 9000
    wav = (dataset / now["split"] / f"{row['id']}.wav").read_bytes()
    assert hashlib.sha256(wav).hexdigest() == now["clip_sha256"]


def test_a_recording_is_prepared_again_at_the_tempo_it_was_given(library, tmp_path, run_prep):
    dataset = tmp_path / "ds"
    assert run_prep(library, dataset, "--bars", "1").code == 0
    with reviewing(dataset, library) as page:
        row = page.get("/api/rows").json["rows"][0]
        page.act("tempo", id=row["id"], version=0, factor=0.5)
    for options in (("--bars", "1"), ("--bars", "1", "--bpm", "90-180"), ("--bars", "1", "--trigger", "x")):
        assert run_prep(library, dataset, *options).code == 0
        tempi = {each["recording"]: each["fields"]["tempo"]["value"] for each in manifest(dataset).values()}
        assert tempi[row["recording"]] == pytest.approx(row["tempo"] / 2)
        assert any(tempo != tempi[row["recording"]] for tempo in tempi.values())
    lengths = {
        each["seconds"] for each in manifest(dataset).values() if each["recording"] == row["recording"]
    }
    assert max(lengths) == pytest.approx(2 * row["seconds"], rel=0.01)
    recordings = [json.loads(line) for line in (dataset / "recordings.jsonl").read_text().splitlines()]
    assert [each["recording"] for each in recordings if each.get("reviewed_bpm")] == [row["recording"]]


def test_the_side_of_a_recording_is_remembered_where_all_of_it_is_rejected(library, tmp_path, run_prep):
    dataset = tmp_path / "ds"
    assert run_prep(library, dataset, "--bars", "1").code == 0
    held_out = {row["recording"] for row in manifest(dataset).values() if row["split"] == "validation"}
    with reviewing(dataset, library) as page:
        rows = [row for row in page.get("/api/rows").json["rows"] if row["recording"] in held_out]
        page.act("verdict", versions={row["id"]: 0 for row in rows}, verdict="rejected")
    assert run_prep(library, dataset, "--bars", "1").code == 0
    with reviewing(dataset, library) as page:
        page.act("verdict", versions={rows[0]["id"]: 1}, verdict="accepted")
    assert manifest(dataset)[rows[0]["id"]]["split"] == "validation"
