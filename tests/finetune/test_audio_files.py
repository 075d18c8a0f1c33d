"""Sound files: read from what musicians have, written bit by bit, and telling what made them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from tinytag import TinyTag

from finetune.audio_files import file_seconds, read_about, read_audio, write_audio
from finetune.errors import WoodshedError

ABOUT = {"woodshed": "0", "prompt": "snäre, 硬い\nloud", "seed": 3, "long": "x" * 9000}


@pytest.fixture
def audio() -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (2, 1000)).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "bits", "subtype"),
    [
        ("wav", 16, "PCM_16"),
        ("wav", 24, "PCM_24"),
        ("wav", 32, "FLOAT"),
        ("flac", 16, "PCM_16"),
        ("FLAC", 24, "PCM_24"),
    ],
)
def test_files_hold_the_nearest_step_and_their_tags(
    tmp_path: Path, audio: np.ndarray, suffix: str, bits: int, subtype: str
) -> None:
    path = tmp_path / "new" / f"sound.{suffix}"
    write_audio(path, audio, 44100, bits, ABOUT)
    assert sf.info(path).subtype == subtype
    assert np.abs(sf.read(path)[0].T - audio).max() <= (0 if bits == 32 else 2.0**-bits)
    assert read_about(path) == ABOUT
    tags = TinyTag.get(path)
    assert tags.title == "snäre, 硬い loud"
    assert json.loads(tags.comment or "") == ABOUT
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_samples_of_a_24_bit_file_come_out_as_they_went_in(tmp_path: Path) -> None:
    steps = np.array([[0, 1, -1, 2**23 - 1, -(2**23), 2**22 + 1, 6_700_417, -7_000_001]], np.int32).repeat(
        2, 0
    )
    sf.write(tmp_path / "in.wav", (steps << 8).T, 44100, subtype="PCM_24")
    write_audio(tmp_path / "out.flac", read_audio(tmp_path / "in.wav", 44100, 1.0), 44100)
    assert np.array_equal(sf.read(tmp_path / "out.flac", dtype="int32")[0].T >> 8, steps)


def test_sound_beyond_full_scale_is_clipped_and_never_wraps(tmp_path: Path) -> None:
    write_audio(tmp_path / "x.wav", np.array([[1.5, -1.5, 1.0]] * 2, np.float32), 44100)
    np.testing.assert_allclose(sf.read(tmp_path / "x.wav")[0].T, [[1, -1, 1]] * 2, atol=1e-6)


def test_other_formats_and_full_disks_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = np.zeros((2, 100), np.float32)
    for name, bits, words in (
        ("sound.mp3", 24, r"must end in \.wav or \.flac"),
        ("sound", 24, r"must end in \.wav or \.flac"),
        ("sound.flac", 32, "FLAC holds 16 or 24 bits"),
        ("sound.wav", 20, "--bits 20 is not one of 16, 24, 32"),
    ):
        with pytest.raises(WoodshedError, match=words):
            write_audio(tmp_path / name, audio, 44100, bits)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("finetune.audio_files.write_file", full)
    with pytest.raises(WoodshedError, match="No space left"):
        write_audio(tmp_path / "sound.wav", audio, 44100)
    assert not list(tmp_path.iterdir())


def test_mono_becomes_two_channels_and_other_rates_are_resampled(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(48000) / 48000) * 0.5
    sf.write(tmp_path / "mono.wav", tone, 48000, subtype="FLOAT")
    assert file_seconds(tmp_path / "mono.wav") == 1.0
    got = read_audio(tmp_path / "mono.wav", 44100, 0.5)
    assert got.shape == (2, 22050)
    assert np.array_equal(got[0], got[1])
    expected = np.sin(2 * np.pi * 1000 * np.arange(22050) / 44100) * 0.5
    assert np.abs(got[0] - expected)[500:].max() < 1e-4, "no edge where the file was cut"
    assert read_audio(tmp_path / "mono.wav", 44100, 9.0).shape == (2, 44100)


def test_files_that_are_no_sound_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    sf.write(tmp_path / "six.wav", np.zeros((10, 6)), 44100)
    sf.write(tmp_path / "none.wav", np.zeros((0, 2)), 44100)
    sf.write(tmp_path / "nan.wav", np.full((10, 2), np.nan), 44100, subtype="FLOAT")
    for name, words in (
        ("text.wav", "cannot be read as audio"),
        ("nowhere.wav", "There is no file"),
        ("six.wav", "has 6 channels"),
        ("none.wav", "holds no sound"),
        ("nan.wav", "no numbers"),
    ):
        with pytest.raises(WoodshedError, match=words):
            read_audio(tmp_path / name, 44100, 1.0)


def test_files_made_elsewhere_do_not_say_how(tmp_path: Path) -> None:
    sf.write(tmp_path / "bare.wav", np.zeros((10, 2)), 44100)
    (tmp_path / "text.wav").write_text("no sound")
    with sf.SoundFile(tmp_path / "other.wav", "w", 44100, 2, subtype="PCM_16") as file:
        file.comment = '["a list"]'
        file.write(np.zeros((10, 2)))
    for name in ("bare.wav", "text.wav", "other.wav", "nowhere.wav"):
        with pytest.raises(WoodshedError, match="does not say how it was made"):
            read_about(tmp_path / name)
