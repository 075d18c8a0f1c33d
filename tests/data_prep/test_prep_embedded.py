"""What files say about themselves inside: markers, loops, tempo, texts, in every kind of file that has them."""

from __future__ import annotations

import struct
from pathlib import Path, PurePosixPath

import drummer
import numpy as np
import pytest
import soundfile

from data_prep.sound.chunks import find_chunks
from data_prep.sound.embedded import Cue, Embedded, read_embedded
from data_prep.sound.recording import SAMPLE_RATE
from data_prep.sound.tags import read_tags

SOUND = np.zeros((2, 4800), np.float32)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def wav_with(path: Path, *chunks: bytes, rate: int = SAMPLE_RATE, first: bool = False) -> Path:
    """A WAV with chunks behind its sound, or before it."""
    drummer.write(path, SOUND, sample_rate=rate)
    content = path.read_bytes()
    place = content.index(b"data") if first else len(content)
    content = content[:place] + b"".join(chunks) + content[place:]
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    return path


def cue(*places: int) -> bytes:
    points = [
        struct.pack("<II4sIII", number, 0, b"data", 0, 0, place) for number, place in enumerate(places, 1)
    ]
    return chunk(b"cue ", struct.pack("<I", len(places)) + b"".join(points))


def labels(*texts: bytes) -> bytes:
    parts = [chunk(b"labl", struct.pack("<I", number) + text + b"\0") for number, text in enumerate(texts, 1)]
    return chunk(b"LIST", b"adtl" + b"".join(parts))


def test_cue_markers_come_in_order_at_44100_with_their_names(tmp_path):
    path = wav_with(
        tmp_path / "a.wav", cue(48_000, 0, 24_000), labels(b"bar 2", b"one", "Füll".encode()), rate=48_000
    )
    expected = (Cue(0, "one"), Cue(22_050, "Füll"), Cue(44_100, "bar 2"))
    assert read_embedded(path).cues == expected
    assert read_tags(path, PurePosixPath("a.wav")).cues == expected


def test_markers_before_the_sound_and_in_latin_letters(tmp_path):
    path = wav_with(tmp_path / "a.wav", cue(100), labels("Füll".encode("latin-1")), first=True)
    assert read_embedded(path).cues == (Cue(100, "Füll"),)


def test_markers_of_aiff(tmp_path):
    path = drummer.write(tmp_path / "a.aiff", SOUND, sample_rate=48_000)
    names = [(2, 24_000, b"two"), (1, 0, b"four")]
    marks = b"".join(
        struct.pack(">HI", number, place) + bytes([len(name)]) + name + b"\0" * (1 - len(name) % 2)
        for number, place, name in names
    )
    body = struct.pack(">H", len(names)) + marks
    inst = struct.pack(">bbbbbbh", 60, 0, 0, 127, 1, 127, 0) + struct.pack(">hhh", 1, 1, 2) + bytes(6)
    path.write_bytes(
        path.read_bytes()
        + b"MARK"
        + struct.pack(">I", len(body))
        + body
        + b"INST"
        + struct.pack(">I", 20)
        + inst
    )
    inside = read_embedded(path)
    assert inside.cues == (Cue(0, "four"), Cue(22_050, "two"))
    assert inside.loop is True


@pytest.mark.parametrize(("start", "end", "loop"), [(0, 4799, True), (10, 10, None)])
def test_a_loop_of_the_sampler_is_a_loop(start, end, loop, tmp_path):
    head = struct.pack("<IIIIIIIII", 0, 0, 22_676, 60, 0, 0, 0, 1, 0)
    path = wav_with(tmp_path / "a.wav", chunk(b"smpl", head + struct.pack("<IIIIII", 0, 0, start, end, 0, 0)))
    assert read_embedded(path).loop is loop


def test_broadcast_and_film_recorders_say_what_a_take_is(tmp_path):
    bext = (
        b"close mics, brushes".ljust(256, b"\0")
        + b"Ada".ljust(32, b"\0")
        + bytes(32)
        + b"2026-05-03"
        + bytes(300)
    )
    ixml = b"<?xml version='1.0'?><BWFXML><PROJECT>Sunday</PROJECT><TAKE>7</TAKE><NOTE>with\nkeys</NOTE></BWFXML>"
    texts = read_embedded(wav_with(tmp_path / "a.wav", chunk(b"bext", bext), chunk(b"iXML", ixml))).texts
    assert texts["description"] == "close mics, brushes"
    assert (texts["originator"], texts["date"]) == ("Ada", "2026-05-03")
    assert (texts["project"], texts["take"], texts["note"]) == ("Sunday", "7", "with keys")


def test_info_tags_of_a_wav(tmp_path):
    info = chunk(
        b"LIST", b"INFO" + chunk(b"INAM", b"Groove\0") + chunk(b"IART", b"Ada\0") + chunk(b"IGNR", b"Funk\0")
    )
    tags = read_tags(wav_with(tmp_path / "a.wav", info), PurePosixPath("a.wav"))
    assert (tags.embedded["title"], tags.embedded["artist"]) == ("Groove", "Ada")
    assert (tags.genre, tags.genre_source) == ("Funk", "tag")


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
def test_tags_of_flac_ogg_and_mp3(name, tmp_path):
    path = drummer.write(tmp_path / name, SOUND)
    with (
        soundfile.SoundFile(path, "r+")
        if name == "a.wav"
        else soundfile.SoundFile(
            path, "w", SAMPLE_RATE, 2, format={"a.flac": "FLAC", "a.ogg": "OGG", "a.mp3": "MP3"}[name]
        ) as file
    ):
        file.title, file.artist, file.album = "Groove", "Ada", "Sunday"
        file.write(SOUND.T)
    texts = read_embedded(path).texts
    assert (texts["title"], texts["artist"], texts["album"]) == ("Groove", "Ada", "Sunday")


@pytest.mark.parametrize(
    ("text", "bpm"), [("92", 92.0), ("92.5", 92.5), ("92,5 BPM", 92.5), ("fast", None), ("9", None)]
)
def test_a_tempo_in_a_tag_counts_where_it_is_one(text, bpm, tmp_path):
    info = chunk(b"LIST", b"INFO" + chunk(b"IBPM", text.encode() + b"\0"))
    assert read_tags(wav_with(tmp_path / "a.wav", info), PurePosixPath("a.wav")).tag_bpm == bpm


def test_one_broken_chunk_costs_no_other(tmp_path):
    path = wav_with(
        tmp_path / "a.wav",
        chunk(b"bext", b"\xff" * 30),
        chunk(b"iXML", b"<open"),
        chunk(b"smpl", b"1"),
        cue(7),
    )
    inside = read_embedded(path)
    assert inside.cues == (Cue(7),)
    assert "project" not in inside.texts


def test_a_file_of_another_kind_says_nothing(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound at all")
    assert read_embedded(tmp_path / "a.wav") == Embedded()


@pytest.mark.parametrize(
    ("name", "kind"), [("a.wav", "RF64"), ("a.w64", "W64"), ("a.wav", "WAV"), ("a.wav", "WAVEX")]
)
def test_the_chunks_of_every_kind_of_wav_lie_where_the_sound_is(name, kind, tmp_path):
    soundfile.write(tmp_path / name, SOUND.T, SAMPLE_RATE, "PCM_16", format=kind)
    chunks = find_chunks(tmp_path / name)
    assert chunks is not None
    sound = chunks.find(b"data")
    assert sound is not None
    assert sound.length == SOUND.size * 2
    assert sound.start + sound.length <= chunks.file_bytes


def test_a_long_empty_file_is_looked_through_at_once(tmp_path):
    path = wav_with(tmp_path / "a.wav")
    with path.open("ab") as file:
        file.truncate(1 << 30)
    assert len(read_embedded(path).cues) == 0
