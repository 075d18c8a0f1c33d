"""Bar lines of clips, against a recording whose beats are known."""

from __future__ import annotations

import drummer
import pytest

from data_prep import Rights, Settings, prepare
from data_prep.dataset import clips
from data_prep.ownership.rights import Basis
from data_prep.rhythm.bar_lines import find_bars
from data_prep.slicing.slices import Slicing

ROW = {
    "start_sample": 44_100,
    "sample_rate": 44_100,
    "fields": {"tempo": {"value": 120.0}, "metre": {"value": "3/4"}},
}


def test_bars_count_from_the_recordings_first_beat():
    """A bar of three quarters at 120 lasts 1.5 s; from a beat at 0.2 s the next bar lines are at 1.7 s, 3.2 s ..."""
    bars = find_bars(ROW, {"anchor_seconds": 0.2})
    assert (bars.first, bars.length) == pytest.approx((0.7, 1.5))
    assert find_bars(ROW, {"anchor_seconds": 2.502}).first == pytest.approx(0.002)
    assert find_bars(ROW, {"anchor_seconds": 2.49}).first == 0, "a bar that began just before is this clip's"


@pytest.mark.parametrize("tempo", [None, 0, "fast", {}])
def test_bars_that_are_not_known_are_none(tempo):
    assert (
        find_bars(ROW | {"fields": ROW["fields"] | {"tempo": {"value": tempo}}}, {"anchor_seconds": 0})
        is None
    )
    assert find_bars(ROW, {}) is None
    assert find_bars(ROW | {"fields": {}}, {"anchor_seconds": 0.0}) is None


@pytest.mark.parametrize(("slicing", "first"), [(Slicing.bars, 0.002), (Slicing.whole, 0.6)])
def test_the_bars_of_a_prepared_clip_are_where_they_are_played(slicing, first, tmp_path):
    """Slices by bars begin 2 ms before the beat; the take as a whole has its first beat at 0.6 s."""
    drummer.write(tmp_path / "takes" / "take.wav", drummer.play(100, bars=4, jitter=0.0).samples)
    prepare(
        tmp_path / "takes",
        tmp_path / "dataset",
        Rights(Basis.own_recording, "a drummer"),
        Settings(slicing, bars=2, bpm=100.0),
        workers=1,
    )
    for clip in clips(tmp_path / "dataset"):
        assert clip.bars.length == pytest.approx(2.4, abs=0.01)
        assert clip.bars.first == pytest.approx(first, abs=0.02)
        assert clip.facts["tempo"] == pytest.approx(100, abs=0.5) and "metre" not in clip.facts
