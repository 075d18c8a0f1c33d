"""What the starter base learned from, as music: grooves, clips, and the libraries that adapters learn from."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from data_prep.rhythm.onsets import detect
from data_prep.rhythm.tempo import find_tempo
from finetune.base_model.starter.drums import SAMPLE_RATE, Kit
from finetune.base_model.starter.grooves import Clip, kit_clips, loop, one_shot, phrase, training_clips
from finetune.base_model.starter.kits import IMPORTANT
from finetune.base_model.starter.library import TEMPOS, write_library
from finetune.base_model.starter.performance import mix_down, play
from finetune.base_model.starter.styles import GRIDS, draw_groove

KITS = {kit.type: kit for kit in map(Kit, range(12))}
ACOUSTIC = KITS["acoustic"]


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
