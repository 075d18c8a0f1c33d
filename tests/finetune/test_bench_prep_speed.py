"""The benchmark of prep's speed: its library is the same every time, and what it measures is of the whole family."""

from __future__ import annotations

import sys

import pytest
import soundfile

from finetune.bench import preparation


def test_the_library_has_the_length_that_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "HOUR", (9, 4, 3))
    first = preparation.make_library(tmp_path / "first", 20 / 3600, single=False)
    again = preparation.make_library(tmp_path / "again", 20 / 3600, single=False)
    assert [soundfile.info(path).duration for path in first] == [9, 4, 3, 4]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert len({path.read_bytes() for path in first}) == 4
    (single,) = preparation.make_library(tmp_path / "single", 20 / 3600, single=True)
    assert soundfile.info(single).duration == 20


def test_memory_and_time_of_children_count(tmp_path):
    """A parent that does nothing and a child that takes 200 MB for a second."""
    child = "import time; end = time.time() + 1; b = bytearray(200_000_000)\nwhile time.time() < end: pass"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print('{{}}')"
    seconds, core_seconds, peak_bytes, report = preparation._run([sys.executable, "-c", parent])
    assert report == {}
    assert peak_bytes > 200_000_000
    assert seconds >= 1
    assert core_seconds > 0.1


@pytest.mark.slow
def test_a_small_library_is_prepared_and_found_unchanged(tmp_path):
    (measured,) = preparation.measure([0.02], single=False, workers=2, folder=tmp_path)
    assert measured.recordings == 1
    assert measured.slices > 0
    assert measured.peak_bytes > 50_000_000
    assert measured.as_dict()["core_seconds_per_second"] > 0
    assert list(tmp_path.iterdir()) == []
