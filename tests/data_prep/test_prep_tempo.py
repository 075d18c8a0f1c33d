"""Tempo: who is believed, how exact it is, and that both octaves stay visible."""

import json

import drummer
import numpy as np
import pytest
import soundfile
from drummer import TAKES

from data_prep.heard.descriptors import swing
from data_prep.rhythm.downbeat import find_anchor
from data_prep.rhythm.onsets import detect
from data_prep.rhythm.tempo import find_tempo
from data_prep.sound.recording import SAMPLE_RATE


def hear(samples: np.ndarray, **stated):
    onsets, envelope = detect(samples)
    return find_tempo(onsets, envelope, samples.shape[1] / SAMPLE_RATE, **stated)


@pytest.fixture(scope="module")
def groove() -> np.ndarray:
    return drummer.play(93.4, bars=8, seed=5).samples


def test_an_exact_statement_of_the_user_is_the_tempo(groove):
    tempo, warnings = hear(groove, user_bpm=93.0)
    assert (tempo.bpm, tempo.source, tempo.confidence) == (93.0, "user", 1.0)
    assert warnings == []


def test_a_statement_that_does_not_fit_is_used_and_doubted(groove):
    tempo, warnings = hear(groove, user_bpm=110.0)
    assert tempo.bpm == 110.0
    assert "110" in warnings[0]
    assert "93" in warnings[0]


@pytest.mark.parametrize("bounds", [(80.0, 110.0), (150.0, 200.0)])
def test_the_users_range_settles_the_octave(groove, bounds):
    tempo, _ = hear(groove, user_range=bounds)
    expected = 93.4 if bounds[1] < 150 else 186.8
    assert tempo.source == "range"
    assert tempo.bpm == pytest.approx(expected, rel=0.002)


def test_a_number_in_the_name_is_refined_to_what_is_played(groove):
    tempo, _ = hear(groove, named_bpm=(93.0,))
    assert tempo.source == "name"
    assert tempo.bpm == pytest.approx(93.4, rel=0.002)


def test_a_number_in_the_name_that_is_no_tempo_is_not_believed(groove):
    tempo, _ = hear(groove, named_bpm=(71.0,))
    assert tempo.source == "estimate"


def test_a_tag_beats_a_name_and_a_false_tag_is_named_and_not_used(groove):
    assert hear(groove, tag_bpm=93.4, named_bpm=(186.8,))[0].source == "tag"
    tempo, warnings = hear(groove, tag_bpm=120.0)
    assert tempo.source == "estimate"
    assert "120" in warnings[0]


def test_both_octaves_are_kept(groove):
    first, second = hear(groove)[0].candidates
    assert first / second in (pytest.approx(2, rel=0.02), pytest.approx(0.5, rel=0.02))


def test_hits_at_random_have_no_tempo():
    rng = np.random.default_rng(3)
    samples = np.zeros((2, 20 * SAMPLE_RATE), np.float32)
    for time in np.sort(rng.uniform(0.5, 19, 40)):
        start = round(time * SAMPLE_RATE)
        samples[:, start : start + 2000] += 0.5 * np.exp(-np.arange(2000) / 300).astype(np.float32)
    assert hear(samples)[0] is None


def test_a_loop_cut_to_length_has_the_tempo_of_its_length():
    take = drummer.play(120, bars=4, lead_in=0.0, jitter=0.001, seed=8)
    loop = take.samples[:, : 8 * SAMPLE_RATE]
    assert hear(loop)[0].bpm == 120.0


@pytest.mark.parametrize(("played", "heard"), [(0.5, None), (0.62, 0.62), (0.66, 0.66)])
def test_swing_is_measured_from_55_up(played, heard):
    take = drummer.play(96, bars=8, pattern={"K": "K.......K.......", "H": "H" * 16}, swing=played, seed=4)
    onsets, _ = detect(take.samples)
    found = swing(onsets, 96.0, find_anchor(onsets, 96.0))
    assert found is None if heard is None else found["value"] == pytest.approx(heard, abs=0.02)


@pytest.mark.parametrize("name", TAKES)
def test_the_tempo_of_recordings_is_within_a_fifth_of_a_percent(name, recordings):
    truth = json.loads((recordings / "takes" / f"{name}.json").read_text())["bpm"]
    samples = soundfile.read(recordings / "takes" / f"{name}.flac", dtype="float32", always_2d=True)[0].T
    tempo, _ = hear(samples, user_range=(truth * 0.72, truth * 1.35))
    assert tempo.bpm == pytest.approx(truth, rel=0.002)
    assert any(candidate == pytest.approx(truth, rel=0.002) for candidate in tempo.candidates)
