"""Hits are found where they were played."""

import json

import drummer
import numpy as np
import pytest
import soundfile
from drummer import TAKES

from data_prep.rhythm.onsets import detect
from data_prep.slicing.slices import one_shots
from data_prep.sound.recording import SAMPLE_RATE


def distances(found: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """From each found start to the nearest hit, in seconds."""
    return np.array([start - hits[np.argmin(np.abs(hits - start))] for start in found])


def starts_and_recall(samples: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, float]:
    spans, _ = one_shots(samples, detect(samples)[0])
    starts = np.array([span.start / SAMPLE_RATE for span in spans])
    once = drummer.hits_only(hits)
    return starts, float(np.mean([np.abs(starts - hit).min() <= 0.03 for hit in once]))


@pytest.mark.parametrize(
    ("bpm", "swing", "seed"), [(84, 0.5, 10), (100, 0.5, 11), (118, 0.62, 12), (140, 0.5, 13), (172, 0.5, 14)]
)
def test_one_shots_of_played_grooves_start_within_10_ms_of_a_hit(bpm, swing, seed):
    take = drummer.play(bpm, bars=6, swing=swing, seed=seed)
    starts, recall = starts_and_recall(take.samples, take.hits)
    assert np.mean(np.abs(distances(starts, take.hits)) <= 0.010) >= 0.95
    assert recall >= 0.75


@pytest.mark.parametrize("name", TAKES)
def test_one_shots_of_recordings_start_within_10_ms_of_a_hit(name, recordings):
    truth = json.loads((recordings / "takes" / f"{name}.json").read_text())
    samples = soundfile.read(recordings / "takes" / f"{name}.flac", dtype="float32", always_2d=True)[0].T
    starts, recall = starts_and_recall(samples, np.array(sorted(time for time, _ in truth["onsets"])))
    assert np.mean(np.abs(distances(starts, np.array([t for t, _ in truth["onsets"]]))) <= 0.010) >= 0.95
    assert recall >= 0.85


def test_a_single_click_is_found_at_its_sample():
    samples = np.zeros((2, SAMPLE_RATE), np.float32)
    samples[:, 20_000:20_400] = 0.5 * np.exp(-np.arange(400) / 80)
    onsets, _ = detect(samples)
    assert len(onsets) == 1
    assert abs(onsets[0].sample - 20_000) <= 0.005 * SAMPLE_RATE


def test_a_hit_on_the_first_sample_is_found_and_room_noise_at_the_start_is_not():
    take = drummer.play(100, bars=2, lead_in=0.0, jitter=0.0)
    assert detect(take.samples)[0][0].sample < 0.01 * SAMPLE_RATE
    late = drummer.play(100, bars=2, lead_in=0.5, jitter=0.0)
    assert abs(detect(late.samples)[0][0].sample - 0.5 * SAMPLE_RATE) < 0.01 * SAMPLE_RATE


def test_hits_out_of_phase_between_the_channels_are_found():
    take = drummer.play(100, bars=2)
    opposed = take.samples * np.array([[1], [-1]], np.float32)
    assert len(detect(opposed)[0]) >= 0.9 * len(drummer.hits_only(take.hits))


def test_silence_with_a_whisper_of_noise_has_few_hits_and_does_not_fail():
    noise = 1e-3 * np.random.default_rng(0).standard_normal((2, 2 * SAMPLE_RATE)).astype(np.float32)
    assert len(detect(noise)[0]) <= 2
