"""The second run: nothing twice, nothing lost, nothing half."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import drummer
import pytest

import data_prep
from data_prep import dataset_folder, files, one_recording
from data_prep.dataset import clips

OPTIONS = ("--bars", "1")


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file with its modification time and size."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    }


def manifest(dataset: Path) -> list[dict]:
    return [json.loads(line) for line in (dataset / "manifest.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(library, tmp_path_factory, run_prep) -> Path:
    """The dataset of the library, made in one go; tests must not change it."""
    dataset = tmp_path_factory.mktemp("whole") / "ds"
    assert run_prep(library, dataset, *OPTIONS).code == 0
    return dataset


@pytest.fixture
def prepared(library, whole, tmp_path) -> tuple[Path, Path]:
    """A library of one's own, and its dataset."""
    recordings, dataset = tmp_path / "recordings", tmp_path / "ds"
    shutil.copytree(library, recordings)
    shutil.copytree(whole, dataset)
    return recordings, dataset


def test_a_second_run_writes_nothing(prepared, run_prep, monkeypatch):
    recordings, dataset = prepared
    assert run_prep(recordings, dataset, *OPTIONS).code == 0  # where the recordings lie now is written down
    before = snapshot(dataset)
    monkeypatch.setattr(one_recording, "decode", lambda *_: pytest.fail("decoded again"))
    result = run_prep(recordings, dataset, *OPTIONS, "--json")
    assert result.code == 0
    assert result.json["changed"] is False
    assert not any(each["done_now"] for each in result.json["recordings"])
    assert snapshot(dataset) == before


def test_a_changed_recording_is_redone_alone(prepared, run_prep):
    recordings, dataset = prepared
    before = snapshot(dataset)
    old = {row["id"] for row in manifest(dataset) if row["recording"] == "fast_165.wav"}
    drummer.write(recordings / "fast_165.wav", drummer.play(165, bars=5, seed=9).samples)
    report = run_prep(recordings, dataset, *OPTIONS, "--json").json
    assert [each["recording"] for each in report["recordings"] if each["done_now"]] == ["fast_165.wav"]
    after = snapshot(dataset)
    untouched = [name for name in before if name.endswith(".wav") and "fast" not in name]
    assert untouched
    assert all(after[name] == before[name] for name in untouched)
    assert not any(Path(name).stem in old for name in after)


def test_the_slices_of_a_removed_recording_go(prepared, run_prep):
    recordings, dataset = prepared
    (recordings / "fast_165.wav").unlink()
    report = run_prep(recordings, dataset, *OPTIONS, "--json").json
    assert report["removed"] == ["fast_165.wav"]
    assert not [name for name in snapshot(dataset) if "fast" in name]
    assert {row["recording"] for row in manifest(dataset)} == {"backbeat_100.wav", "odd/seven_eight_130.flac"}


def test_other_settings_redo_all_and_leave_nothing_of_before(prepared, run_prep, tmp_path):
    recordings, dataset = prepared
    run_prep(recordings, dataset, "--bars", "2")
    run_prep(recordings, tmp_path / "fresh", "--bars", "2")
    assert {row["id"] for row in manifest(dataset)} == {row["id"] for row in manifest(tmp_path / "fresh")}
    wavs = {path.stem for path in dataset.rglob("*.wav")}
    assert wavs == {row["id"] for row in manifest(dataset)}
    assert {path.stem for path in dataset.glob("*/*.txt")} == wavs


def test_another_trigger_changes_captions_and_no_sound(prepared, run_prep):
    recordings, dataset = prepared
    before = snapshot(dataset)
    report = run_prep(recordings, dataset, *OPTIONS, "--trigger", "adakit", "--json").json
    assert not any(each["done_now"] for each in report["recordings"])
    assert all("adakit" in row["text"] for row in manifest(dataset))
    assert all("adakit" in path.read_text() for path in dataset.glob("*/*.txt"))
    after = snapshot(dataset)
    assert all(after[name] == before[name] for name in before if name.endswith(".wav"))


def test_a_reviewed_caption_is_kept(prepared, run_prep):
    recordings, dataset = prepared
    rows = manifest(dataset)
    rows[0] |= {"text": "my own words", "captions": ["my own words"], "reviewed": True}
    (dataset / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_prep(recordings, dataset, *OPTIONS, "--trigger", "adakit")
    assert manifest(dataset)[0]["text"] == "my own words"
    assert (dataset / rows[0]["split"] / f"{rows[0]['id']}.txt").read_text() == "my own words"


def test_a_caption_edited_in_its_txt_is_taken_over(prepared, run_prep):
    recordings, dataset = prepared
    row = manifest(dataset)[1]
    (dataset / row["split"] / f"{row['id']}.txt").write_text("brushes on a suitcase\n")
    report = run_prep(recordings, dataset, *OPTIONS, "--json").json
    assert report["edited_captions"] == 1
    edited = next(each for each in manifest(dataset) if each["id"] == row["id"])
    assert (edited["text"], edited["reviewed"]) == ("brushes on a suitcase", True)
    assert run_prep(recordings, dataset, *OPTIONS, "--json").json["changed"] is False


def test_a_deleted_slice_is_made_again(prepared, run_prep):
    recordings, dataset = prepared
    row = manifest(dataset)[0]
    path = dataset / row["split"] / f"{row['id']}.wav"
    content = path.read_bytes()
    path.unlink()
    assert run_prep(recordings, dataset, *OPTIONS).code == 0
    assert path.read_bytes() == content


def test_a_held_out_recording_stays_held_out_when_recordings_come_in(prepared, run_prep):
    recordings, dataset = prepared
    held_out = {row["recording"] for row in manifest(dataset) if row["split"] == "validation"}
    for seed in (20, 21):
        samples = drummer.play(90 + seed, bars=3, seed=seed).samples
        drummer.write(recordings / f"new_{seed}.wav", samples)
    run_prep(recordings, dataset, *OPTIONS)
    now = {row["recording"] for row in manifest(dataset) if row["split"] == "validation"}
    assert held_out <= now


def test_a_full_disk_is_a_sentence_and_the_next_run_completes(library, tmp_path, run_prep, monkeypatch):
    write, count = files.write_bytes, iter(range(100))

    def full(path: Path, content: bytes) -> bool:
        if next(count) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(dataset_folder, "write_bytes", full)
        result = run_prep(library, tmp_path / "ds", *OPTIONS)
    assert result.code == 1
    assert "is full" in result.err
    assert run_prep(library, tmp_path / "ds", *OPTIONS).code == 0
    assert len(clips(tmp_path / "ds")) == len(manifest(tmp_path / "ds")) > 0


def test_a_folder_with_something_else_in_it_is_refused(library, tmp_path, run_prep):
    (tmp_path / "thesis.doc").write_text("years of work")
    result = run_prep(library, tmp_path, *OPTIONS)
    assert result.code == 1
    assert "not empty" in result.err
    assert (tmp_path / "thesis.doc").read_text() == "years of work"


def test_another_library_on_the_same_dataset_is_refused(prepared, tmp_path, run_prep):
    drummer.write(tmp_path / "others" / "x.wav", drummer.play(100, bars=2, seed=77).samples)
    before = snapshot(prepared[1])
    result = run_prep(tmp_path / "others", prepared[1], *OPTIONS)
    assert result.code == 1
    assert "other recordings" in result.err
    assert snapshot(prepared[1]) == before


def test_after_kill_9_the_next_run_completes_the_same_dataset(library, whole, tmp_path, run_prep):
    """Killed at several moments; each time what is left is continued, and the end is that of an unbroken run."""
    script = (
        "import sys, data_prep\n"
        "settings = data_prep.Settings(bars=1)\n"
        "rights = data_prep.Rights(data_prep.Basis.own_recording, 'Ada')\n"
        "data_prep.prepare(sys.argv[1], sys.argv[2], rights, settings, workers=1)\n"
    )
    broken = tmp_path / "broken"
    for until in (1, 6):
        process = subprocess.Popen([sys.executable, "-c", script, str(library), str(broken)])
        deadline = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(broken.rglob("*.wav"))) >= until:
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.002)
        assert process.wait() == -signal.SIGKILL
    assert run_prep(library, broken, *OPTIONS).code == 0
    assert not list(broken.rglob("*.part"))
    names = {path.relative_to(broken) for path in broken.rglob("*") if path.is_file()}
    assert names == {path.relative_to(whole) for path in whole.rglob("*") if path.is_file()}
    for name in names:
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name


def test_ctrl_c_leaves_a_dataset_that_the_next_run_completes(library, tmp_path, run_prep, monkeypatch):
    calls = iter(range(10))
    decode = one_recording.decode

    def stop_at_the_second(path: Path, scratch: Path):
        if next(calls) == 1:
            raise KeyboardInterrupt
        return decode(path, scratch)

    with monkeypatch.context() as patch:
        patch.setattr(one_recording, "decode", stop_at_the_second)
        result = run_prep(library, tmp_path / "ds", *OPTIONS)
    assert result.code == 130
    assert "run the same command again" in result.err
    report = run_prep(library, tmp_path / "ds", *OPTIONS, "--json").json
    assert sum(each["done_now"] for each in report["recordings"]) == 2
    assert len(clips(tmp_path / "ds")) == report["slices"]


def test_two_processes_make_the_same_dataset_as_one(library, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.workers.SMALL_BYTES", 0)
    rights = data_prep.Rights(data_prep.Basis.own_recording, "Ada")
    data_prep.prepare(library, tmp_path / "two", rights, data_prep.Settings(bars=1), workers=2)
    assert manifest(whole) == manifest(tmp_path / "two")


@pytest.mark.parametrize("workers", [1, 2])
def test_progress_rises_to_the_whole_within_recordings_too(library, tmp_path, monkeypatch, workers):
    monkeypatch.setattr("data_prep.workers.SMALL_BYTES", 0)
    calls: list[tuple[float, float, str]] = []
    data_prep.prepare(
        library,
        tmp_path / "ds",
        data_prep.Rights(data_prep.Basis.own_recording, "Ada"),
        data_prep.Settings(bars=1),
        workers=workers,
        progress=lambda *call: calls.append(call),
    )
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == pytest.approx(calls[-1][1])
    assert {call[2] for call in calls} & {"backbeat_100.wav", "fast_165.wav", "odd/seven_eight_130.flac"}
    if workers == 1:
        assert len(set(done)) > 10
