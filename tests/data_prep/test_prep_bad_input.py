"""Bad recordings: each is named with its reason, the rest is prepared, and the exit code says so."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import drummer
import numpy as np
import pytest
import soundfile

from data_prep.find_recordings import find_recordings
from data_prep.sound.recording import SAMPLE_RATE, RecordingFault, decode

GOOD = drummer.play(100, bars=2, seed=1).samples
TWO_BARS_OF_4 = 4 * 60 / 100


def truncated(folder: Path) -> Path:
    path = drummer.write(folder / "truncated.wav", GOOD)
    path.write_bytes(path.read_bytes()[:100_000])
    return path


def truncated_flac(folder: Path) -> Path:
    path = drummer.write(folder / "truncated.flac", GOOD)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def empty(folder: Path) -> Path:
    (folder / "empty.wav").write_bytes(b"")
    return folder / "empty.wav"


def header_only(folder: Path) -> Path:
    return drummer.write(folder / "header.wav", np.zeros((2, 0), np.float32))


def silent(folder: Path) -> Path:
    return drummer.write(folder / "silent.wav", np.zeros((2, 2 * SAMPLE_RATE), np.float32))


def not_a_number(folder: Path) -> Path:
    broken = GOOD.copy()
    broken[0, 1000:1010] = np.nan
    return drummer.write(folder / "nan.wav", broken, subtype="FLOAT")


def telephone(folder: Path) -> Path:
    return drummer.write(folder / "telephone.wav", GOOD[:1, ::5], sample_rate=8000)


def text_as_wav(folder: Path) -> Path:
    (folder / "letter.wav").write_text("Dear drummer, " * 100)
    return folder / "letter.wav"


def folder_as_wav(folder: Path) -> Path:
    (folder / "folder.wav").mkdir()
    return folder / "folder.wav"


def dangling_link(folder: Path) -> Path:
    (folder / "gone.wav").symlink_to(folder / "nowhere.wav")
    return folder / "gone.wav"


def link_to_itself(folder: Path) -> Path:
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    return folder / "loop.wav"


def link_to_the_folder_above(folder: Path) -> Path:
    (folder / "again").symlink_to(folder, target_is_directory=True)
    return folder / "again"


def shorter_than_a_slice(folder: Path) -> Path:
    return drummer.write(folder / "short.wav", GOOD[:, : round(2.0 * SAMPLE_RATE)])


def foreign(folder: Path) -> Path:
    (folder / "break.rx2").write_bytes(b"CAT " + bytes(100))
    return folder / "break.rx2"


LEFT_OUT = [
    (truncated, "truncated", "copy it again"),
    (truncated_flac, "truncated", "copy it again"),
    (empty, "empty", "0 bytes"),
    (header_only, "empty", "no sound"),
    (silent, "silent", "-80 dBFS"),
    (not_a_number, "not_a_number", "10 samples are NaN"),
    (telephone, "low_sample_rate", "8 kHz"),
    (text_as_wav, "unreadable", "not audio"),
    (folder_as_wav, "unreadable", "folder"),
    (dangling_link, "unreadable", "not there"),
    (link_to_itself, "unreadable", "leads to itself"),
    (link_to_the_folder_above, "link_loop", "link"),
    (shorter_than_a_slice, "shorter_than_slice", "2 bars"),
    (foreign, "foreign_format", "export"),
]


@pytest.mark.parametrize(("make", "gate", "words"), LEFT_OUT, ids=[case[0].__name__ for case in LEFT_OUT])
def test_what_cannot_be_used_is_named_and_the_rest_is_prepared(make, gate, words, tmp_path, run_prep):
    recordings = tmp_path / "recordings"
    drummer.write(recordings / "good.wav", GOOD)
    bad = make(recordings)
    result = run_prep(recordings, tmp_path / "ds", "--bars", "2", "--bpm", "100", "--json")
    assert result.code == 3
    report = result.json
    assert [each["recording"] for each in report["recordings"]] == ["good.wav"]
    assert [(each["recording"], each["gate"]) for each in report["left_out"]] == [(bad.name, gate)]
    assert words in report["left_out"][0]["reason"]
    assert (tmp_path / "ds" / "manifest.jsonl").read_text().count("\n") == 1


def eight_bit(folder: Path) -> Path:
    return drummer.write(folder / "game.wav", GOOD, subtype="PCM_U8")


def mono(folder: Path) -> Path:
    return drummer.write(folder / "mono.wav", GOOD[:1])


def high_rate(folder: Path) -> Path:
    import soxr

    high = soxr.resample(GOOD.T, SAMPLE_RATE, 96_000).T
    return drummer.write(folder / "high.wav", high, sample_rate=96_000, subtype="PCM_24")


def low_rate(folder: Path) -> Path:
    import soxr

    low = soxr.resample(GOOD.T, SAMPLE_RATE, 32_000).T
    return drummer.write(folder / "low.wav", low, sample_rate=32_000)


def six_channels(folder: Path) -> Path:
    return drummer.write(folder / "surround.wav", np.repeat(GOOD, 3, axis=0))


def flac_as_wav(folder: Path) -> Path:
    path = drummer.write(folder / "x.flac", GOOD)
    return path.rename(folder / "really_flac.wav")


def clipped(folder: Path) -> Path:
    return drummer.write(folder / "loud.wav", np.clip(4 * GOOD, -1, 1))


def dc(folder: Path) -> Path:
    return drummer.write(folder / "dc.wav", 0.5 * GOOD + 0.05)


NOTICED = [
    (eight_bit, "eight_bit", "8-bit"),
    (mono, "mono", "mono"),
    (high_rate, "resampled", "96"),
    (low_rate, "below_44100", "16 kHz"),
    (six_channels, "downmix", "6 channels"),
    (flac_as_wav, "wrong_extension", "FLAC"),
    (clipped, "clipped", "clipped in"),
    (dc, "dc", "DC offset"),
]


@pytest.mark.parametrize(("make", "gate", "words"), NOTICED, ids=[case[0].__name__ for case in NOTICED])
def test_what_is_doubtful_is_used_and_said(make, gate, words, tmp_path, run_prep):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    bad = make(recordings)
    result = run_prep(recordings, tmp_path / "ds", "--bars", "1", "--bpm", "100", "--json")
    assert result.code == 0
    (report,) = result.json["recordings"]
    assert report["recording"] == bad.name
    assert words in report["gates"][gate]
    assert words in result.err
    clip = next((tmp_path / "ds").glob("*/*.wav"))
    info = soundfile.info(clip)
    assert (info.samplerate, info.channels, info.subtype) == (44_100, 2, "PCM_24")


def test_every_format_decodes_to_the_same_length_and_nearly_the_same_sound(tmp_path):
    for name in ("take.wav", "take.aiff", "take.flac", "take.ogg", "take.mp3"):
        decoded = decode(drummer.write(tmp_path / name, GOOD))
        assert abs(decoded.samples.shape[1] - GOOD.shape[1]) <= 2304, name
        size = min(decoded.samples.shape[1], GOOD.shape[1])
        likeness = np.corrcoef(decoded.samples[0, :size], GOOD[0, :size])[0, 1]
        assert likeness > 0.95, name


def test_the_pcm_hash_is_of_the_sound_and_not_of_the_file(tmp_path):
    wav = decode(drummer.write(tmp_path / "a.wav", GOOD))
    flac = decode(drummer.write(tmp_path / "a.flac", GOOD))
    assert wav.pcm_sha256 == flac.pcm_sha256


def test_six_channels_fold_the_odd_ones_left_and_the_even_ones_right(tmp_path):
    channels = np.zeros((6, SAMPLE_RATE), np.float32)
    channels[0:5:2] = 0.3
    decoded = decode(drummer.write(tmp_path / "six.wav", channels, subtype="FLOAT"))
    assert decoded.samples[0] == pytest.approx(0.3)
    assert decoded.samples[1] == pytest.approx(0.0)


def test_a_streamed_wav_whose_header_knows_no_length_is_not_truncated(tmp_path):
    path = drummer.write(tmp_path / "stream.wav", GOOD)
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[4:8] = content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert decode(path).samples.shape[1] == GOOD.shape[1]


def test_a_file_that_may_not_be_opened_is_named(tmp_path, monkeypatch):
    path = drummer.write(tmp_path / "locked.wav", GOOD)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RecordingFault, match="Permission denied"):
        decode(path)


@pytest.mark.parametrize(
    "name", ["my take (1).wav", "🥁 groove.wav", "two\nlines.wav", "Grüße.wav", "[bold]x.wav"]
)
def test_any_name_will_do(name, tmp_path, run_prep):
    drummer.write(tmp_path / "recordings" / name, GOOD)
    result = run_prep(tmp_path / "recordings", tmp_path / "ds", "--bars", "1", "--bpm", "100", "--json")
    assert result.code == 0
    assert result.json["recordings"][0]["recording"] == name
    assert name.replace("\n", "\\n")[:6] in result.err
    again = run_prep(tmp_path / "recordings", tmp_path / "ds", "--bars", "1", "--bpm", "100", "--json")
    assert again.json["changed"] is False


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file names that are not Unicode")
def test_a_name_that_is_no_unicode_will_do(tmp_path, run_prep):
    good = drummer.write(tmp_path / "good.wav", GOOD)
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    try:
        shutil.copy(good, os.fsencode(recordings) + b"/broken-\xff.wav")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert run_prep(recordings, tmp_path / "ds", "--bars", "1", "--bpm", "100").code == 0
    assert (
        run_prep(recordings, tmp_path / "ds", "--bars", "1", "--bpm", "100", "--json").json["changed"]
        is False
    )


def test_the_same_sound_twice_is_used_once(tmp_path, run_prep):
    drummer.write(tmp_path / "recordings" / "a.wav", GOOD)
    drummer.write(tmp_path / "recordings" / "b.flac", GOOD)
    result = run_prep(tmp_path / "recordings", tmp_path / "ds", "--bars", "1", "--bpm", "100", "--json")
    assert result.code == 3
    assert [(each["recording"], each["gate"]) for each in result.json["left_out"]] == [
        ("b.flac", "duplicate")
    ]
    assert "a.wav" in result.json["left_out"][0]["reason"]


def test_a_folder_without_audio_fails_and_says_so(tmp_path, run_prep):
    (tmp_path / "notes.txt").write_text("no audio here")
    result = run_prep(tmp_path, tmp_path / "ds")
    assert result.code == 1
    assert "no audio" in result.err


def test_a_missing_folder_fails_and_says_so(tmp_path, run_prep):
    result = run_prep(tmp_path / "nowhere", tmp_path / "ds", "--json")
    assert result.code == 1
    assert "does not exist" in result.json["error"]


def test_where_nothing_can_be_used_the_reasons_are_given(tmp_path, run_prep):
    (tmp_path / "recordings").mkdir()
    empty(tmp_path / "recordings")
    result = run_prep(tmp_path / "recordings", tmp_path / "ds")
    assert result.code == 1
    assert "0 bytes" in result.err


def test_hidden_files_and_the_dataset_itself_are_no_recordings(tmp_path):
    drummer.write(tmp_path / "take.wav", GOOD)
    drummer.write(tmp_path / "._take.wav", GOOD)
    drummer.write(tmp_path / "ds" / "train" / "slice.wav", GOOD)
    found, faults = find_recordings(tmp_path, leave=tmp_path / "ds")
    assert [path.name for path in found] == ["take.wav"]
    assert faults == []
