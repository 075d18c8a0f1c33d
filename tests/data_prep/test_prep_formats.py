"""Every format comes out as the sound that went in: those of libsndfile, those of PyAV, any number of channels, any
length."""

from __future__ import annotations

import hashlib
import struct
import sys
from pathlib import Path

import drummer
import numpy as np
import pytest
import soundfile

from data_prep.one_recording import prepare_recording
from data_prep.settings import Settings
from data_prep.sound import sound_file, sound_store
from data_prep.sound.blocks import in_blocks, peak, window
from data_prep.sound.downmix import mixing_weights
from data_prep.sound.formats import is_recording
from data_prep.sound.recording import SAMPLE_RATE, RecordingFault, decode

TAKE = drummer.play(100, bars=1, seed=1).samples
MONO_ONLY = {"HTK", "SVX", "XI", "WVE", "SDS"}
SUFFIXES = {
    "SVX": "8svx",
    "IRCAM": "sf",
    "NIST": "sph",
    "MPC2K": "snd",
    "MAT4": "mat",
    "MAT5": "mat",
    "WAVEX": "wav",
}
NOT_WRITTEN = {"RAW": "has no header", "SD2": "keeps its header in a second file", "WVE": "is 8 kHz only"}
LOSSY = {"MP3", "OGG"}
ROUNDED_RATE = {"HTK", "SDS"}
"""They keep the length of a sample in whole nanoseconds or more, so that 44.1 kHz comes back as 44.247 or 44.099."""


@pytest.mark.parametrize("kind", sorted(set(soundfile.available_formats()) - set(NOT_WRITTEN)))
def test_every_format_of_libsndfile_is_found_and_decoded(kind, tmp_path):
    path = tmp_path / f"take.{SUFFIXES.get(kind, kind.lower())}"
    assert is_recording(path.suffix)
    sound = TAKE[:1] if kind in MONO_ONLY else TAKE
    subtype = "PCM_16" if soundfile.check_format(kind, "PCM_16") else soundfile.default_subtype(kind)
    soundfile.write(path, sound.T, SAMPLE_RATE, format=kind, subtype=subtype)
    decoded = decode(path)
    length = min(decoded.samples.shape[1], TAKE.shape[1])
    assert abs(decoded.samples.shape[1] - TAKE.shape[1]) <= (2304 if kind in LOSSY | ROUNDED_RATE else 200)
    if kind not in ROUNDED_RATE:
        assert np.corrcoef(decoded.samples[0, :length], TAKE[0, :length])[0, 1] > 0.9


def with_pyav(path: Path, codec: str, sound: np.ndarray = TAKE, pictures: bool = False) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        film = container.add_stream("mpeg4", rate=10) if pictures else None
        stream = container.add_stream(codec, rate=SAMPLE_RATE, layout="stereo") if codec else None
        if film:
            film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
            for _ in range(5):
                container.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))))
            container.mux(film.encode(None))
        if stream:
            for start in range(0, sound.shape[1], 1024):
                part = np.ascontiguousarray(sound[:, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts = SAMPLE_RATE, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pictures"),
    [("a.m4a", "aac", False), ("a.mp4", "aac", True), ("a.mov", "aac", True), ("a.mkv", "flac", True)],
)
def test_m4a_and_the_sound_of_films_by_pyav(name, codec, pictures, tmp_path):
    decoded = decode(with_pyav(tmp_path / name, codec, pictures=pictures))
    length = min(decoded.samples.shape[1], TAKE.shape[1])
    assert length >= TAKE.shape[1] - 2048
    spectrum = np.fft.rfft(decoded.samples[0, :length]) * np.conj(np.fft.rfft(TAKE[0, :length]))
    assert int(np.argmax(np.fft.irfft(spectrum))) == 0, "not a sample early or late"
    assert np.corrcoef(decoded.samples[0, :length], TAKE[0, :length])[0, 1] > 0.9


def test_lossless_sound_by_pyav_has_the_pcm_hash_of_its_wav(tmp_path):
    wav = drummer.write(tmp_path / "a.wav", TAKE)
    rounded = soundfile.read(wav, dtype="float32")[0].T
    alac = with_pyav(tmp_path / "a.m4a", "alac", rounded)
    assert decode(alac).pcm_sha256 == decode(wav).pcm_sha256


def test_a_film_without_sound_is_named(tmp_path):
    with pytest.raises(RecordingFault, match="only pictures"):
        decode(with_pyav(tmp_path / "silent.mp4", "", pictures=True))


def test_half_an_m4a_is_named(tmp_path):
    path = with_pyav(tmp_path / "a.m4a", "aac")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordingFault, match="not audio that can be decoded"):
        decode(path)


def test_without_pyav_the_sentence_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "phone.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(RecordingFault, match=r"extra `av`: pip install 'woodshed\[av\]'") as fault:
        decode(path)
    assert fault.value.gate == "foreign_format"


def test_a_playlist_called_m4a_opens_nothing(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "list.m4a"
    path.write_text("#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/secret.aac\n#EXT-X-ENDLIST\n")
    with pytest.raises(RecordingFault):
        decode(path)


def surround(path: Path, mask: int | None) -> Path:
    """Six channels at six levels; `mask` names their speakers in a WAVE_FORMAT_EXTENSIBLE header."""
    levels = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], np.float32)
    soundfile.write(
        path, np.tile(levels, (SAMPLE_RATE, 1)), SAMPLE_RATE, "FLOAT", format="WAVEX" if mask else "WAV"
    )
    if mask:
        content = bytearray(path.read_bytes())
        place = content.index(b"fmt ") + 8 + 20
        content[place : place + 4] = struct.pack("<I", mask)
        path.write_bytes(content)
    return path


def test_surround_is_mixed_by_its_speakers_without_the_subwoofer(tmp_path):
    decoded = decode(surround(tmp_path / "film.wav", 0x3F))
    half = 0.5**0.5
    whole = 1 + 2 * half
    assert decoded.downmix == "speakers"
    assert decoded.samples[0] == pytest.approx((0.1 + half * 0.3 + half * 0.5) / whole, abs=1e-6)
    assert decoded.samples[1] == pytest.approx((0.2 + half * 0.3 + half * 0.6) / whole, abs=1e-6)


def test_channels_without_names_go_left_and_right_in_turn(tmp_path):
    decoded = decode(surround(tmp_path / "mics.wav", None))
    assert decoded.downmix == "sides"
    assert decoded.samples[0] == pytest.approx(0.3, abs=1e-6)
    assert decoded.samples[1] == pytest.approx(0.4, abs=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 5, 8, 64])
def test_no_mix_is_louder_than_its_channels(channels):
    assert mixing_weights(channels, ()).sum(axis=0).max() == pytest.approx(1.0)


@pytest.mark.parametrize("rate", [44_100, 48_000, 88_200])
def test_a_long_recording_in_a_file_is_the_same_as_in_memory(rate, tmp_path, monkeypatch):
    path = drummer.write(tmp_path / "a.wav", TAKE, sample_rate=rate, subtype="PCM_24")
    memory = decode(path)
    monkeypatch.setattr(sound_store, "IN_MEMORY_SAMPLES", 10_000)
    monkeypatch.setattr(sound_file, "BLOCK_VALUES", 20_002)
    mapped = decode(path, tmp_path)
    assert isinstance(memory.samples.base, np.ndarray | None)
    assert not mapped.samples.flags.writeable
    assert np.array_equal(mapped.samples, memory.samples)
    assert mapped.pcm_sha256 == memory.pcm_sha256
    assert list(tmp_path.iterdir()) == [path], "the temporary files have no name"
    assert peak(mapped.samples) == float(np.abs(memory.samples).max())
    assert np.array_equal(
        np.concatenate([each for _, each in in_blocks(mapped.samples, 999)], axis=1), memory.samples
    )


def test_a_long_recording_is_prepared_as_a_short_one(tmp_path, monkeypatch):
    path = drummer.write(tmp_path / "take_100.wav", drummer.play(100, bars=4, seed=3).samples)
    states = []
    for limit in (1 << 24, 10_000):
        monkeypatch.setattr(sound_store, "IN_MEMORY_SAMPLES", limit)
        folder = tmp_path / str(limit)
        folder.mkdir()
        states.append(prepare_recording(path, path.name, folder / "state.json", folder, Settings(bars=1)))
    assert states[0] == states[1]
    assert len(states[0]["slices"]) == 4


def test_the_pcm_hash_is_of_the_interleaved_float_samples(tmp_path):
    path = drummer.write(tmp_path / "a.wav", TAKE, subtype="PCM_24")
    samples = soundfile.read(path, dtype="float32")[0]
    assert decode(path).pcm_sha256 == hashlib.sha256(samples.astype("<f4").tobytes()).hexdigest()


def test_clipping_is_counted_once_across_blocks(tmp_path, monkeypatch):
    sound = 0.1 * np.ones((2, 9000), np.float32)
    sound[:, 998:1004] = 1.0
    sound[:, 4998:5001] = -1.0
    sound[:, 7000:7002] = 1.0
    path = drummer.write(tmp_path / "a.wav", sound, subtype="FLOAT")
    for values in (2000, 2002, 2004, 20, 1 << 20):
        monkeypatch.setattr(sound_file, "BLOCK_VALUES", values)
        assert decode(path).clipped_samples.tolist() == [998, 4998]


@pytest.mark.parametrize(("start", "stop"), [(-5, 3), (-9, -2), (95, 110), (120, 130), (10, 20), (-5, 105)])
def test_windows_reach_beyond_the_recording_as_zeros(start, stop):
    samples = np.arange(200, dtype=np.float32).reshape(2, 100)
    wide = np.pad(samples, ((0, 0), (50, 50)))
    assert np.array_equal(window(samples, start, stop), wide[:, 50 + start : 50 + stop])
