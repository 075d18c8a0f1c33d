"""The ear for kit pieces: what it was made from, what it hears in sounds with truth, and how it is fitted."""

from __future__ import annotations

import json
import os
import struct
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from drummer import SAMPLE_RATE, TAKES

from data_prep.heard.kit_features import (
    FEATURES_VERSION,
    IN_MUSIC,
    features_alone,
    features_in_music,
    start_of_hit,
)
from data_prep.heard.kit_pieces import (
    ABOUT,
    PIECES,
    claims_alone,
    ear_from,
    heard_pieces,
    pieces_of,
    shipped_ear,
)
from data_prep.heard.kit_training.grooves import play
from data_prep.heard.kit_training.kits import Kit
from data_prep.heard.kit_training.sampled import gus_patch, soundfont_drums
from data_prep.heard.kit_training.sources import KIT_PIECES, Hit, hits_of, sound_of_name
from data_prep.rhythm.onsets import detect

RECORDINGS = Path(os.environ.get("WOODSHED_RECORDINGS", "../shared/recordings"))
LETTERS = {
    "K": "kick", "S": "snare", "G": "snare", "H": "hi-hat", "O": "hi-hat", "P": "hi-hat", "T": "tom", "M": "tom",
    "L": "tom", "X": "cymbal",
}  # fmt: skip
PERMISSIVE = (
    "CC0-1.0", "MIT", "CC-BY-3.0", "CC-BY-4.0", "Unlicense", "public domain",
    "GPL-2+ with exception for what is made with it",
)  # fmt: skip


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    return json.loads((files("data_prep.heard") / ABOUT).read_text("utf-8"))


def test_it_was_trained_on_sounds_whose_licence_allows_it(about: dict[str, Any]) -> None:
    for kit in about["kits"]:
        assert kit["licence"]
        if kit["trained_on"]:
            assert kit["licence"] in PERMISSIVE, kit["name"]
            assert kit["files"] and all(len(digest) == 64 for digest in kit["files"])
            assert {sound for of_file in kit["files"].values() for sound in of_file.values()} <= set(
                KIT_PIECES
            )
        else:
            assert not kit["files"], kit["name"]


def test_nine_of_ten_claims_about_hits_of_kits_not_heard_are_right(about: dict[str, Any]) -> None:
    figures = about["leave_one_kit_out"]
    assert figures["hits"]["files"] > 800 and len(figures["hits"]["kits"]) > 15
    assert figures["hits"]["debian"]["accuracy"] >= 0.88
    assert min(each["claims_right"] for each in figures["hits"]["pieces"].values()) >= 0.89
    assert figures["hits"]["claims_right"] >= 0.93 and figures["grooves"]["precision"] >= 0.9
    assert figures["recordings"]["left_out"] == ["Sonic Pi"]


def test_weights_of_other_features_are_refused(about: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match="of other features"):
        ear_from({}, about | {"features_version": FEATURES_VERSION + 1})


def test_a_hit_is_the_same_whatever_its_level_and_the_silence_before_it() -> None:
    rng = np.random.default_rng(0)
    hit = np.stack([rng.standard_normal(20_000) * np.exp(-np.arange(20_000) / 3000)] * 2)
    late = 0.05 * np.pad(hit, ((0, 0), (5000, 0)))
    there, here = (features_alone(sound, start_of_hit(sound)) for sound in (hit, late))
    assert np.abs(there - here).max() < 3  # dB and octaves; the frames fall elsewhere
    likely, sure = shipped_ear().lone_hit(hit)
    assert likely.keys() == set(PIECES) and set(sure) <= set(PIECES)


def test_treble_alone_is_never_claimed_to_be_hand_percussion() -> None:
    shaken = np.zeros((2, len(PIECES) + 1))
    shaken[:, PIECES.index("hand percussion")] = 1
    features = np.full((2, 16), -30.0)
    features[0, -1] = features[1, 0] = 0  # all of the power in the highest band, and in the lowest
    assert claims_alone(shaken, features).any(axis=1).tolist() == [False, True]


def test_sounds_are_the_pieces_that_they_are() -> None:
    assert np.array_equal(pieces_of(["kick", None, "hat", "hat"]).argmax(axis=1), [0, len(PIECES), 2, 2])


def test_what_follows_the_next_hit_is_not_looked_at() -> None:
    rng = np.random.default_rng(1)
    samples = rng.standard_normal((2, SAMPLE_RATE))
    starts = np.array([5000, 9000])
    changed = samples.copy()
    changed[:, 9000 + 2000 :] = 0
    alike = features_in_music(samples, starts)[0], features_in_music(changed, starts)[0]
    assert alike[0].shape == (IN_MUSIC,)
    assert np.abs(alike[0] - alike[1])[:-1].max() < 1e-6


def test_a_groove_says_what_it_plays() -> None:
    tick = np.zeros((2, 400), np.float32)
    tick[:, :50] = 1
    hits = [Hit("kit", "k", "kick", tick, ""), Hit("kit", "s", "side stick", tick, "")]
    groove = play(hits, 4)
    again = play(hits, 4)
    assert np.array_equal(groove.samples, again.samples) and groove.played.shape == (
        len(groove.starts),
        len(PIECES),
    )
    assert not groove.played[:, 1:].any(), "a side stick is no piece"
    assert np.all(np.diff(groove.starts) > 0)


@pytest.mark.parametrize(
    ("name", "sound"),
    [
        ("HatPedal-Soft", "closed hat"), ("EE_Hat_Op_Phaser", "open hat"), ("PearlSideStick-Med", "side stick"),
        ("bassdrum01", "kick"), ("tom-hi-1", "tom"), ("Djembe2 Slap", "hand drum"), ("WaterglassHi", None),
        ("crash20i__crash", "crash"), ("24Ride-1", "ride"), ("Cowbell-Hard", "metal"),
    ],
)  # fmt: skip
def test_names_of_files_say_what_they_are(name: str, sound: str | None) -> None:
    assert sound_of_name(name) == sound


def test_a_kit_is_read_by_folders_and_no_sound_of_it_is_taken_too_often(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / "Kdrum").mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"Kdrum/{number}.wav", np.full(500, 0.5), SAMPLE_RATE)
    soundfile.write(tmp_path / "Kdrum/snare.wav", np.full(500, 0.5), SAMPLE_RATE)
    kit = Kit("one", "", "", "CC0-1.0", True, "*/*.wav", (("*/snare", "snare"), ("Kdrum/*", "kick")), most=3)
    assert [hit.name for hit in hits_of(kit, tmp_path)] == ["Kdrum/0", "Kdrum/3", "Kdrum/6", "Kdrum/snare"]


def test_drums_of_a_soundfont_are_read(tmp_path: Path) -> None:
    """Written after the SoundFont 2.01 specification: one preset in the drum bank, one zone, key 36."""
    wave = (np.sin(np.arange(500) / 9) * 20_000).astype("<i2")

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)

    def preset(name: bytes, bank: int, bag: int) -> bytes:
        return struct.pack("<20sHHHIII", name, 0, bank, bag, 0, 0, 0)

    def sample(name: bytes, end: int) -> bytes:
        return struct.pack("<20sIIIIIBbHH", name, 0, end, 0, 0, 44_100, 60, 0, 0, 1)

    tables = {
        b"phdr": preset(b"Kit", 128, 0) + preset(b"EOP", 0, 1),
        b"pbag": struct.pack("<HHHH", 0, 0, 1, 0),
        b"pmod": bytes(10),
        b"pgen": struct.pack("<HHHH", 41, 0, 0, 0),
        b"inst": struct.pack("<20sH20sH", b"Kick", 0, b"EOI", 1),
        b"ibag": struct.pack("<HHHH", 0, 0, 2, 0),
        b"imod": bytes(10),
        b"igen": struct.pack("<HBBHHHH", 43, 36, 36, 53, 0, 0, 0),
        b"shdr": sample(b"Std Kick", 500) + sample(b"EOS", 0),
    }
    sound = chunk(b"LIST", b"sdta" + chunk(b"smpl", wave.tobytes()))
    body = sound + chunk(b"LIST", b"pdta" + b"".join(chunk(*table) for table in tables.items()))
    (tmp_path / "a.sf2").write_bytes(chunk(b"RIFF", b"sfbk" + body))
    [found] = soundfont_drums(tmp_path / "a.sf2")
    assert (found.name, found.keys, found.sample_rate) == ("Std Kick", {36}, 44_100)
    assert np.allclose(found.samples[0] * 32_768, wave)


def test_a_gus_patch_is_read(tmp_path: Path) -> None:
    wave = np.arange(-60, 60, dtype=np.int8)
    header = bytearray(129 + 63 + 47 + 96)
    at = 129 + 63 + 47
    header[at + 8 : at + 12] = len(wave).to_bytes(4, "little")
    header[at + 20 : at + 22] = (22_050).to_bytes(2, "little")
    (tmp_path / "038_Snare.pat").write_bytes(bytes(header) + wave.tobytes())
    found = gus_patch(tmp_path / "038_Snare.pat")
    assert found.keys == {38} and found.sample_rate == 22_050
    assert np.allclose(found.samples[0] * 128, wave)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason=f"the recordings are not in {RECORDINGS}")
@pytest.mark.parametrize("take", TAKES)
def test_what_is_claimed_of_a_take_is_played_in_it(take: str) -> None:
    path = RECORDINGS / "takes" / f"{take}.flac"
    samples, _ = soundfile.read(path, dtype="float32", always_2d=True)
    samples = np.ascontiguousarray(samples.T[:, : 12 * SAMPLE_RATE])
    truth = json.loads(path.with_suffix(".json").read_text())["onsets"]
    played = {
        "hand percussion" if take.startswith("tabla") else LETTERS.get(x, "hand percussion") for _, x in truth
    }
    facts = heard_pieces(samples, detect(samples)[0], one_shot=False)
    assert facts["pieces"]["value"] and set(facts["pieces"]["value"]) <= played
    assert facts["instruments"]["value"] == ("Percussion" if take.startswith("tabla") else "Drum Kit")
