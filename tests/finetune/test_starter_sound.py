"""The drum synthesiser that the starter base learned from: hits, rooms, grooves, clips, libraries for adapters."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from data_prep.onsets import detect
from data_prep.tempo import find_tempo
from finetune.base_model.starter.drums import PIECES, SAMPLE_RATE, Kit
from finetune.base_model.starter.grooves import Clip, kit_clips, loop, one_shot, phrase, training_clips
from finetune.base_model.starter.kits import IMPORTANT, RANGES, STRANGE, TYPES
from finetune.base_model.starter.library import TEMPOS, write_library
from finetune.base_model.starter.performance import mix_down, play
from finetune.base_model.starter.rooms import Room, draw_room
from finetune.base_model.starter.styles import GRIDS, draw_groove
from finetune.base_model.starter.synthesis import membrane, noise, partials

KITS = {kit.type: kit for kit in map(Kit, range(12))}
ACOUSTIC = KITS["acoustic"]


def centroid_hz(sound: np.ndarray) -> float:
    """Centroid of the power spectrum of mono audio."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    return float((power * np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)).sum() / power.sum())


def share(sound: np.ndarray, low_hz: float, high_hz: float) -> float:
    """Share of the energy of mono audio between two frequencies."""
    power = np.abs(np.fft.rfft(sound)) ** 2
    hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    return float(power[(hz >= low_hz) & (hz < high_hz)].sum() / power.sum())


def seconds_to(sound: np.ndarray, fall_db: float) -> float:
    """When all but `fall_db` of the energy has passed (Schroeder's backward integral)."""
    left = np.cumsum((sound.astype(np.float64) ** 2)[::-1])[::-1]
    return float(np.argmax(left < left[0] * 10 ** (-fall_db / 10)) / SAMPLE_RATE)


def medians(piece: str, measure) -> float:
    """Median of a measure over two hard hits of each of eight kits."""
    kits = [kit for kit in map(Kit, range(60)) if piece in kit.pieces][:8]
    return float(np.median([measure(kit.strike(piece, 1.0, take)) for kit in kits for take in range(2)]))


def test_partials_are_decaying_sines() -> None:
    hz, ring, level = np.array([440.0, 1234.5]), np.array([0.2, 0.05]), np.array([1.0, 0.5])
    t = np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE
    truth = sum(
        a * np.exp(-t / tau) * np.sin(2 * np.pi * f * t) for f, tau, a in zip(hz, ring, level, strict=True)
    )
    assert partials(hz, ring, level, np.zeros(2), 0.5) == pytest.approx(truth, abs=2e-5)


def test_a_membrane_falls_to_its_pitch() -> None:
    sound = membrane(np.random.default_rng(0), 100.0, 0.5, 1.0, 0.02, 9.0, 0.0)
    late = np.abs(np.fft.rfft(sound[int(0.15 * SAMPLE_RATE) :], SAMPLE_RATE))
    assert np.argmax(late) == pytest.approx(100, abs=1.5)
    crossings = np.flatnonzero(np.diff(np.signbit(sound[: SAMPLE_RATE // 2])))
    assert crossings[0] < 0.6 * np.diff(crossings)[-1], "the first half-wave is almost an octave higher"


def test_noise_keeps_to_its_band() -> None:
    sound = noise(np.random.default_rng(0), 1.0, 1000, 4000)
    assert len(sound) == SAMPLE_RATE
    assert share(sound, 700, 5700) > 0.85


@pytest.mark.parametrize("kind", TYPES)
def test_a_kit_is_its_seed(kind: str) -> None:
    kit = KITS[kind]
    for piece in kit.pieces:
        hit = kit.strike(piece, 0.8, 1)
        assert np.array_equal(hit, Kit(kit.seed).strike(piece, 0.8, 1))
        assert not np.array_equal(hit, kit.strike(piece, 0.8, 2))
        assert np.abs(hit).max() == pytest.approx(0.8)
        assert np.isfinite(hit).all()
        assert hit[-1] == 0, "it ends in silence"


def test_every_piece_stands_in_some_kit_and_sounds_in_each() -> None:
    assert {piece for kit in KITS.values() for piece in kit.pieces} == set(PIECES)


@pytest.mark.parametrize("piece", PIECES)
def test_a_soft_hit_is_darker(piece: str) -> None:
    kits = [kit for kit in map(Kit, range(12)) if piece in kit.pieces][:4]
    assert all(
        centroid_hz(kit.strike(piece, 0.2, 0)) < centroid_hz(kit.strike(piece, 1.0, 0)) for kit in kits
    )


def test_pieces_sound_as_high_as_they_should() -> None:
    order = ["kick", "floor tom", "mid tom", "high tom", "snare", "closed hi-hat"]
    heights = [medians(piece, centroid_hz) for piece in order]
    assert all(low < high for low, high in pairwise(heights)), dict(zip(order, heights, strict=True))
    assert medians("conga", centroid_hz) < medians("bongo", centroid_hz)


def test_pieces_ring_as_long_as_they_should() -> None:
    order = ["closed hi-hat", "open hi-hat", "crash cymbal"]
    rings = [medians(piece, lambda hit: seconds_to(hit, 30)) for piece in order]
    assert rings[0] < 0.25 < rings[1] < rings[2] and rings[2] > 1.0


def test_a_snare_is_shell_and_wires() -> None:
    assert medians("snare", lambda hit: share(hit, 120, 600)) > 0.15
    assert medians("snare", lambda hit: share(hit, 1500, 9000)) > 0.25
    assert medians("snare", lambda hit: share(hit, 9000, 22050)) < 0.15
    assert medians("closed hi-hat", lambda hit: share(hit, 5000, 22050)) > 0.8
    assert medians("kick", lambda hit: share(hit, 0, 250)) > 0.9


def test_a_cymbal_is_brighter_at_first() -> None:
    def fall(hit: np.ndarray) -> float:
        return centroid_hz(hit[:8192]) / centroid_hz(hit[SAMPLE_RATE // 2 : SAMPLE_RATE // 2 + 8192])

    assert medians("crash cymbal", fall) > 1.15


def test_real_hits_lie_within_the_kits(recordings: Path) -> None:
    """Where real one-shots have their energy and how long they ring is within what kits draw, within a fifth."""
    real = {
        "drum_heavy_kick": "kick", "drum_snare_hard": "snare", "drum_snare_soft": "snare",
        "drum_cymbal_closed": "closed hi-hat", "drum_cymbal_open": "open hi-hat", "drum_splash_hard": "crash cymbal",
        "drum_tom_hi_hard": "high tom", "drum_tom_mid_hard": "mid tom", "drum_tom_lo_hard": "floor tom",
    }  # fmt: skip
    kits = [kit for kit in map(Kit, range(40)) if kit.type == "acoustic"]
    for name, piece in real.items():
        sound = sf.read(recordings / "one_shots" / f"{name}.flac", always_2d=True)[0].mean(1)
        ours = [kit.strike(piece, 1.0, 0) for kit in kits]
        for measure in (centroid_hz, lambda hit: seconds_to(hit, 10)):
            drawn = [measure(hit) for hit in ours]
            assert min(drawn) / 1.2 <= measure(sound) <= max(drawn) * 1.2, (
                name,
                measure(sound),
                sorted(drawn),
            )


def test_the_libraries_drummers_have_kits_the_starter_never_saw() -> None:
    moved = [name for name in STRANGE if STRANGE[name] != RANGES["acoustic"][name]]
    assert {"kick_hz", "snare_hz", "hat_low_hz", "tom_hz", "bell_hz", "closed_decay"} <= set(moved)
    for name in moved:
        low, high = STRANGE[name]
        for kind, ranges in RANGES.items():
            assert high < ranges[name][0] or low > ranges[name][1], (name, kind)


def test_a_room_answers_at_its_level_and_dies_in_its_time() -> None:
    click = np.zeros((2, 2 * SAMPLE_RATE), np.float32)
    click[:, 0] = 1
    answer = Room((6.0, 4.0, 3.0), 0.5, -8.0, 3).add(click) - click
    assert 10 * np.log10((answer**2).sum() / 2) == pytest.approx(-8, abs=0.5)
    assert not np.allclose(answer[0], answer[1]), "two ears"
    assert 0.1 < seconds_to(answer[0], 30) < 0.5
    assert share(answer[0, : SAMPLE_RATE // 20], 4000, 22050) > 2 * share(
        answer[0, SAMPLE_RATE // 5 :], 4000, 22050
    )


def test_rooms_are_of_every_kind() -> None:
    words = [draw_room(seed, strange=False).word for seed in range(200)]
    assert {words.count(word) > 20 for word in ("dry", "roomy", None)} == {True}
    dry = next(room for room in (draw_room(seed, strange=False) for seed in range(99)) if room.seconds == 0)
    click = np.eye(2, 100, dtype=np.float32)
    assert np.array_equal(dry.add(click), click)
    assert draw_room(1, strange=True).word == "roomy"


@pytest.mark.parametrize("metre", list(GRIDS))
def test_loops_are_whole_bars_to_the_sample(metre: str) -> None:
    rng = np.random.default_rng(5)
    for kit in KITS.values():
        bpm = float(rng.integers(60, 190))
        clip = loop(kit, draw_groove(rng, kit.pieces, metre=metre, bpm=bpm), rng)
        bar = GRIDS[metre] / 4 * 60 / bpm * SAMPLE_RATE
        bars = round(clip.audio.shape[1] / bar)
        assert 1 <= bars <= 8 and clip.audio.shape == (2, round(bars * bar))
        assert clip.audio.dtype == np.float32 and np.abs(clip.audio).max() <= 1
        assert 1.2 <= clip.facts["seconds"] <= 12
        assert (clip.facts["metre"], clip.facts["tempo"]) == (metre, bpm)


def test_a_folded_loop_begins_with_what_rang_at_its_end() -> None:
    hits = [("crash cymbal", SAMPLE_RATE - 4000, 1.0)]
    cut, folded = (
        mix_down(ACOUSTIC, hits, SAMPLE_RATE, np.random.default_rng(0), fold) for fold in (False, True)
    )
    assert not cut[:, : SAMPLE_RATE // 2].any()
    assert np.abs(folded[:, : SAMPLE_RATE // 2]).max() > 0.02


def test_swing_delays_the_second_of_each_pair() -> None:
    rng = np.random.default_rng(0)
    while (groove := draw_groove(rng, ACOUSTIC.pieces, "4/4", 120)).swing == 0.5:
        pass
    pair = groove.swung_beats * 0.5  # seconds at 120 BPM
    late = [at for _, at, _ in groove.bar if at % groove.swung_beats == groove.swung_beats / 2]
    assert len(late) >= 3, "what swings has something to be late"
    assert groove.seconds_at(0) == 0 and groove.seconds_at(groove.swung_beats) == pytest.approx(pair)
    assert groove.seconds_at(groove.swung_beats / 2) == pytest.approx(groove.swing * pair)
    placed = [groove.seconds_at(step / 8) for step in range(32)]
    assert placed == sorted(placed)


def test_a_hand_is_near_the_grid_and_never_twice_the_same() -> None:
    rng = np.random.default_rng(2)
    groove = draw_groove(rng, ACOUSTIC.pieces, "4/4", 100)
    hits = play(groove, 4, rng, fill_chance=0.0)
    planned = np.sort([bar * 2.4 + groove.seconds_at(step[1]) for bar in range(4) for step in groove.bar])
    late = np.sort([sample / SAMPLE_RATE for _, sample, _ in hits]) - planned
    assert np.abs(late).max() < 0.035 and late.std() > 0.0003
    assert len({velocity for _, _, velocity in hits}) > len(hits) / 2


def test_most_standard_loops_have_a_tempo_that_is_found() -> None:
    """At least nine of ten, the octave allowed, by data_prep's own ear."""
    rng, found = np.random.default_rng(3), []
    while len(found) < 20:
        kit = Kit(int(rng.integers(2**31)))
        groove = draw_groove(rng, kit.pieces)
        if groove.standard:
            clip = loop(kit, groove, rng)
            onsets, envelope = detect(clip.audio)
            heard, _ = find_tempo(onsets, envelope, clip.facts["seconds"])
            octaves = [heard.bpm * octave / groove.bpm for octave in (0.5, 1, 2)] if heard else []
            found.append(any(abs(ratio - 1) < 0.04 for ratio in octaves))
    assert np.mean(found) >= 0.9


def test_the_hits_that_are_noted_are_heard() -> None:
    rng = np.random.default_rng(9)
    kit = next(kit for kit in map(Kit, range(99)) if kit.type == "electronic" and kit.room.seconds == 0)
    clip = loop(kit, draw_groove(rng, kit.pieces, "4/4", 90), rng)
    heard = np.array([onset.sample for onset in detect(clip.audio)[0]])
    noted = np.array(clip.facts["hits"])
    near = np.abs(heard[:, None] - noted[None]).min(axis=1) < 0.025 * SAMPLE_RATE
    assert near.mean() > 0.9


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    return list(kit_clips(4, 1))


def test_clips_of_a_kit_can_be_rendered_alone_and_again(clips: list[Clip]) -> None:
    again = training_clips(4, 2)
    count = sum(1 for _ in kit_clips(4, 0))
    both = list(again)[count:]
    assert len(both) == len(clips)
    assert all(
        np.array_equal(a.audio, b.audio) and a.facts == b.facts for a, b in zip(clips, both, strict=True)
    )


def test_clips_are_one_shots_loops_and_phrases(clips: list[Clip]) -> None:
    hits = [clip.facts["pieces"][0] for clip in clips if clip.facts["kind"] == "one-shot"]
    kinds = [clip.facts["kind"] for clip in clips]
    assert all(hits.count(piece) == (2 if piece in IMPORTANT else 1) for piece in set(hits))
    assert kinds.count("phrase") == 2 and 10 <= kinds.count("loop") <= 24
    for clip in clips:
        loudest = 20 * np.log10(np.abs(clip.audio).max())
        assert -6.5 < loudest <= 0
        assert clip.audio.shape == (2, round(clip.facts["seconds"] * SAMPLE_RATE))
        longest = (
            12.0 if clip.facts["kind"] != "one-shot" else 3.5 if "cymbal" in clip.facts["pieces"][0] else 2.5
        )
        assert 0.5 <= clip.facts["seconds"] <= longest


def test_between_hits_there_is_only_the_noise_of_a_recording() -> None:
    rng = np.random.default_rng(1)
    dry = next(kit for kit in map(Kit, range(99)) if "woodblock" in kit.pieces and kit.room.seconds == 0)
    clip = one_shot(dry, "woodblock", 0.9, rng)
    level = 10 * np.log10(np.square(clip.audio[:, -8000:]).mean())
    assert -87 < level < -65


def test_a_phrase_has_silence_around_it() -> None:
    rng = np.random.default_rng(6)
    clip = phrase(ACOUSTIC, draw_groove(rng, ACOUSTIC.pieces, "4/4", 120), rng)
    first, last = clip.facts["hits"][0], clip.facts["hits"][-1]
    assert first >= 0.02 * SAMPLE_RATE
    assert clip.audio.shape[1] - last >= 0.4 * SAMPLE_RATE
    assert np.abs(clip.audio[:, : first - 200]).max() < 0.01


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_the_library_is_the_same_every_time(tmp_path: Path, seed: int) -> None:
    ours, theirs = (write_library(tmp_path / name, takes=2, seed=seed) for name in "ab")
    assert [p.name for p in ours] == [f"take {n}, {bpm} bpm.wav" for n, bpm in enumerate(TEMPOS[:2], 1)]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(ours, theirs, strict=True))
    for path in ours:
        sound, rate = sf.read(path)
        stated = float(re.findall(r"(\d+) bpm", path.name)[0])
        onsets, envelope = detect(sound.T.astype(np.float32))
        heard, _ = find_tempo(onsets, envelope, len(sound) / rate)
        assert heard and min(abs(heard.bpm * octave / stated - 1) for octave in (0.5, 1, 2)) < 0.04
