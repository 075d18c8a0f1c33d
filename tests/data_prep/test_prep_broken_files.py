"""Broken files: prep ends, names each with its reason or uses it, and loses none; the good one is prepared."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import broken_files
import drummer
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.find_recordings import find_recordings
from data_prep.sound.recording import SAMPLE_RATE, RecordingFault, decode
from data_prep.sound.tags import read_tags

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links, pipes and names that Windows does not have")

GATES = {
    "cut at riff.wav": "unreadable", "cut at tag.wav": "unreadable", "cut at data.wav": "unreadable",
    "channels is zero.wav": "unreadable", "rate is zero.wav": "unreadable", "channels is zero.aiff": "unreadable",
    "nan.wav": "not_a_number", "inf.wav": "not_a_number", "minus inf.wav": "not_a_number",
    "all nan.wav": "not_a_number", "huge.wav": "too_loud", "loud.wav": "too_loud", "silent.wav": "silent",
    "one sample.wav": "too_short", "no sample.wav": "empty", "no sample.flac": "empty", "rate 1.wav": "low_sample_rate",
    "rate 7999.wav": "low_sample_rate", "rate 22049.wav": "low_sample_rate", "rate 768001.wav": "odd_sample_rate",
    "rate 2147483647.wav": "odd_sample_rate", "empty.wav": "empty", "empty.m4a": "empty", "noise.wav": "unreadable",
    "noise.m4a": "unreadable", "letter.wav": "unreadable", "page.mp3": "unreadable", "zip.wav": "unreadable",
    "list.m4a": "unreadable", "no format.wav": "unreadable", "dangling.wav": "unreadable",
    "itself.wav": "unreadable", "above": "link_loop", "zero device.wav": "unreadable", "folder.wav": "unreadable",
    "pipe.wav": "unreadable",
}  # fmt: skip
"""What is wrong with these is known for certain."""
USED = (
    "good.wav", "rate 44099.wav", "rate 191999.wav", "17 channels.wav", "cue without end.wav", "acid nan.wav",
    "bext in Latin.wav", "laughing iXML.wav", "nested lists.wav", "Grüße.wav", "two\nlines.wav", "a.WAV",
    "marks without end.aiff",
)  # fmt: skip
"""And these are sound, many of them the same one."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("broken")
    made = broken_files.write_all(folder)
    drummer.write(folder / "good.wav", drummer.play(100, bars=1, seed=9).samples)
    return folder, made


def test_two_hundred_broken_files_are_named_or_used_and_none_is_lost(corpus, tmp_path, run_prep):
    folder, made = corpus
    assert len(made) >= 200
    result = run_prep(folder, tmp_path / "ds", "--slice", "whole", "--json")
    assert result.code == 3
    used = [each["recording"] for each in result.json["recordings"]]
    left_out = {each["recording"]: each for each in result.json["left_out"]}
    assert sorted([*used, *left_out]) == sorted([*made, "good.wav"]), "each once, none lost"
    assert all(len(each["reason"]) > 10 for each in left_out.values())
    assert {name: left_out.get(name, {}).get("gate") for name in GATES} == GATES
    sound = {name for name, each in left_out.items() if each["gate"] == "duplicate"} | set(used)
    assert set(USED) - sound == set()
    again = run_prep(folder, tmp_path / "ds", "--slice", "whole", "--json")
    assert again.json["changed"] is False
    assert not any(each["done_now"] for each in again.json["recordings"])


def test_what_is_cut_off_is_said(corpus):
    """Half of a file is never taken for a whole one: it is refused, or noticed."""
    folder, _ = corpus
    for kind in broken_files.FORMATS:
        if kind == "mp3":
            continue  # it has no end and promises no length: half of it is a shorter one
        content = broken_files.encode(kind)
        path = folder / f"cut at {len(content) // 2}.{kind}"
        try:
            assert decode(path).cut_off, kind
        except RecordingFault as fault:
            assert fault.gate in ("truncated", "unreadable", "empty"), kind


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_and_a_folder_without_permission_are_named(tmp_path, run_prep):
    recordings = tmp_path / "recordings"
    drummer.write(recordings / "good.wav", drummer.play(100, bars=1).samples)
    locked = drummer.write(recordings / "locked.wav", drummer.play(90, bars=1).samples)
    (recordings / "private").mkdir()
    for path in (locked, recordings / "private"):
        path.chmod(0)
    try:
        result = run_prep(recordings, tmp_path / "ds", "--bars", "1", "--json")
    finally:
        (recordings / "private").chmod(0o700)
    assert sorted(each["recording"] for each in result.json["left_out"]) == ["locked.wav", "private"]


def test_a_folder_that_may_be_listed_and_not_entered_is_named(tmp_path, monkeypatch):
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(b"x")
    is_dir = Path.is_dir

    def refuse(path: Path) -> bool:
        if path.name == "a.wav":
            raise PermissionError(13, "Permission denied")
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", refuse)
    found, faults = find_recordings(tmp_path)
    assert [path.name for path in found] == ["b.wav"]
    assert [(path.name, fault.gate) for path, fault in faults] == [("a.wav", "unreadable")]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_file_whatever_crashes_the_reading(data, tmp_path):
    """A good file of any kind with bytes changed, cut out, put in, or cut off; or bytes of no kind."""
    kind = data.draw(st.sampled_from([*broken_files.FORMATS, "m4a"]))
    good = broken_files.encode(kind) if kind != "m4a" else b"\0\0\0\x20ftypM4A "
    content = bytearray(data.draw(st.one_of(st.just(good), st.binary(max_size=300))))
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, min(len(content), 400)))
        with_what = data.draw(st.binary(max_size=8))
        cut = data.draw(st.sampled_from([0, len(with_what), 3]))
        content[place : place + cut] = with_what
    end = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    path = tmp_path / f"file.{kind}"
    path.write_bytes(bytes(content[:end]))
    try:
        decoded = decode(path)
    except RecordingFault as fault:
        assert fault.gate
        assert fault.reason
    else:
        assert decoded.samples.shape[0] == 2
        assert decoded.samples.shape[1] >= 0.05 * SAMPLE_RATE - 1
        assert np.isfinite(decoded.samples).all()
    tags = read_tags(path, PurePosixPath(path.name))
    assert all(isinstance(text, str) for text in tags.embedded.values())
    assert [cue.sample for cue in tags.cues] == sorted(cue.sample for cue in tags.cues)
