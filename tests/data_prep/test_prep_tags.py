"""What tags and names say, and what they do not."""

import struct
from pathlib import PurePosixPath

import drummer
import numpy as np
import pytest

from data_prep.one_recording import slug
from data_prep.rhythm.metre import named_metre, parse_metre
from data_prep.sound.tags import Tags, named_bpm, read_tags


def with_acid(path, flags: int, bpm: float, numerator: int = 4, denominator: int = 4):
    """A WAV with an ACID chunk behind its sound."""
    drummer.write(path, np.zeros((2, 4410), np.float32))
    body = struct.pack("<IHHfIHHf", flags, 60, 0, 0.0, 8, denominator, numerator, bpm)
    content = path.read_bytes() + b"acid" + struct.pack("<I", len(body)) + body
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    return path


def tags_of(path) -> Tags:
    return read_tags(path, PurePosixPath(path.name))


def test_the_acid_chunk_gives_tempo_metre_and_beats(tmp_path):
    tags = tags_of(with_acid(tmp_path / "loop.wav", 0, 174.0, 7, 8))
    assert (tags.tag_bpm, tags.tag_metre, tags.tag_loop, tags.tag_beats) == (174.0, "7/8", True, 8)


def test_an_acid_one_shot_has_no_tempo(tmp_path):
    tags = tags_of(with_acid(tmp_path / "hit.wav", 1, 120.0))
    assert (tags.tag_bpm, tags.tag_metre, tags.tag_loop, tags.tag_beats) == (None, None, False, None)


@pytest.mark.parametrize(
    ("name", "bpm"),
    [
        ("jungle_168.flac", (168.0,)),
        ("92bpm/take 3 140.wav", (92.0, 140.0)),
        ("take 12.wav", ()),
        ("groove_20240107.wav", ()),
        ("brush-87.5.wav", (87.5,)),
        ("kit.wav", ()),
    ],
)
def test_tempo_numbers_in_names(name, bpm):
    assert named_bpm(PurePosixPath(name)) == bpm


@pytest.mark.parametrize(
    ("name", "metre"),
    [
        ("seven_eight_126.flac", "7/8"),
        ("groove 7-8.wav", "7/8"),
        ("5_4/fast.wav", "5/4"),
        ("take_3_4.wav", None),
        ("backbeat_94.wav", None),
        ("Six Eight feel.wav", "6/8"),
    ],
)
def test_metres_in_names(name, metre):
    assert named_metre(PurePosixPath(name)) == metre


def test_a_bar_of_seven_eight_has_three_and_a_half_quarter_notes():
    assert parse_metre("7/8").quarter_notes == 3.5
    with pytest.raises(ValueError, match="is no metre"):
        parse_metre("7-8")


def test_instruments_come_from_names_only(tmp_path):
    path = drummer.write(tmp_path / "x.wav", np.zeros((2, 4410), np.float32))
    tabla = read_tags(path, PurePosixPath("tabla/teental.wav"))
    assert (tabla.instruments, tabla.pieces) == ("Percussion", ("tabla",))
    kit = read_tags(path, PurePosixPath("KickAndSnare.wav"))
    assert (kit.instruments, kit.pieces) == ("Drum Kit", ("kick", "snare"))
    assert read_tags(path, PurePosixPath("tuesday.wav")).instruments is None


def test_slugs_are_plain_ascii():
    assert slug("a/Grüße 🥁\n№3.wav") == "grue-no3"
    assert slug("🥁.wav") == "take"
