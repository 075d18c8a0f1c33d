"""How much of a clip is trained at once, and from where."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.dataset import Clip
from data_prep.rhythm.bar_lines import Bars
from finetune.crops import Crops
from finetune.latents import EncodedClip

RATE = 44100 / 4096  # latents in a second


def clip(seconds: float, bars: Bars | None = None) -> EncodedClip:
    known = Clip("a", "train", Path("a.wav"), "0", "loop", ("loop",), seconds, "take.wav", 60.0, {}, bars)
    return EncodedClip(known, math.ceil(round(seconds * RATE, 6)), Path("a.safetensors"))


def test_a_random_crop_may_begin_anywhere_and_whole_clips_are_never_cropped() -> None:
    long = clip(20.0, Bars(0.0, 2.0))
    assert Crops("random", 100, RATE).frames(long) == 100
    assert Crops("random", 100, RATE).starts(long) == range(216 - 100 + 1)
    assert Crops("whole", 100, RATE).frames(long) == 216
    for kind in ("random", "bars", "whole"):
        assert Crops(kind, 100, RATE).frames(clip(5.0)) == 54  # type: ignore[arg-type]


def test_crops_on_bars_hold_whole_bars_from_a_bar_line() -> None:
    """Bars of 2 s: 7 s of crop hold three, which begin at 0.4, 2.4 ... s, in the frames that hold these moments."""
    crops, long = Crops("bars", math.ceil(7 * RATE), RATE), clip(20.0, Bars(0.4, 2.0))
    assert crops.frames(long) == math.ceil(6 * RATE)
    assert list(crops.starts(long)) == [math.floor((0.4 + 2 * bar) * RATE) for bar in range(7)]


def test_where_no_bar_fits_or_none_is_known_a_crop_may_begin_anywhere() -> None:
    slow, unknown = clip(20.0, Bars(1.0, 9.0)), clip(20.0)
    crops = Crops("bars", 54, RATE)
    assert crops.frames(slow) == crops.frames(unknown) == 54
    assert list(crops.starts(slow)) == [math.floor(RATE), math.floor(10 * RATE)]
    assert crops.starts(unknown) == range(216 - 54 + 1)
    late = clip(6.0, Bars(5.9, 9.0))
    assert crops.starts(late) == range(65 - 54 + 1)


@given(
    seconds=st.floats(0.2, 60),
    most=st.integers(2, 400),
    first=st.floats(0, 1),
    length=st.floats(0.2, 12),
    kind=st.sampled_from(["random", "bars", "whole"]),
)
def test_every_crop_lies_within_its_clip(
    seconds: float, most: int, first: float, length: float, kind: str
) -> None:
    crops, sound = Crops(kind, most, RATE), clip(seconds, Bars(first * length, length))  # type: ignore[arg-type]
    frames, starts = crops.frames(sound), crops.starts(sound)
    assert 1 <= frames <= (sound.frames if kind == "whole" else min(most, sound.frames))
    assert len(starts) > 0 and min(starts) >= 0 and max(starts) + frames <= sound.frames


def test_bar_lines_of_a_clip() -> None:
    assert Bars(0.5, 2.0).lines(6.5) == pytest.approx([0.5, 2.5, 4.5])
    assert Bars(3.0, 2.0).lines(2.0) == []
