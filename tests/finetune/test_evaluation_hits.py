"""The judge of hits: on the real ones it was measured on, on synthesised ones it never saw, and made again."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from scipy.signal import butter, sosfilt

from finetune.evaluation.hits import RATE, describe, descriptor_names, judge_from, shipped_judge
from finetune.evaluation.measure_hits import CLASSES, document, one_shots

SAMPLES = Path("/usr/share/sonic-pi/samples")
NUMBERS = json.loads((files("finetune.evaluation") / "hits.json").read_text("utf-8"))
T = np.arange(RATE) / RATE


def tone(hertz: float, falls_to: float, decay: float) -> np.ndarray:
    """A drumhead: a partial that falls in pitch, and one above it."""
    cycles = np.cumsum(falls_to + (hertz - falls_to) * np.exp(-T / 0.02)) / RATE
    return (np.sin(2 * np.pi * cycles) + 0.1 * np.sin(2 * np.pi * 1.6 * cycles)) * np.exp(-T / decay)


def noise(low_hz: float, decay: float) -> np.ndarray:
    white = np.random.default_rng(3).standard_normal(RATE)
    return sosfilt(butter(3, low_hz, "highpass", fs=RATE, output="sos"), white) * np.exp(-T / decay)


SOUNDS = {
    "kick": tone(150, 50, 0.12),
    "snare": tone(260, 200, 0.05) + 0.6 * noise(1200, 0.09),
    "hat": noise(7000, 0.03),
    "tom": tone(160, 130, 0.2) + 0.05 * noise(1000, 0.01),
    "cymbal": noise(3500, 0.6),
}


@pytest.mark.parametrize("hit", SOUNDS)
def test_hits_made_of_tones_and_noise_are_what_they_are(hit):
    assert shipped_judge().classify(np.tile(SOUNDS[hit], (2, 1))) == hit


def test_level_and_silence_before_the_hit_change_nothing():
    sound = np.tile(SOUNDS["snare"], (2, 1))
    later = np.pad(0.05 * sound, ((0, 0), (4410, 0)))
    assert describe(later) == pytest.approx(describe(sound), abs=0.7)
    assert len(describe(sound)) == len(descriptor_names())


def test_silence_and_a_single_click_have_a_verdict():
    click = np.zeros((2, RATE))
    assert np.isfinite(describe(click)).all()
    click[:, 100] = 1
    assert shipped_judge().classify(click) in CLASSES


def test_probabilities_add_up_to_one():
    likely = shipped_judge().probabilities(describe(np.tile(SOUNDS["kick"], (2, 1))))
    assert set(likely) == set(CLASSES)
    assert sum(likely.values()) == pytest.approx(1)


def test_a_judge_of_other_descriptors_is_refused():
    with pytest.raises(ValueError, match="measure_hits"):
        judge_from({**NUMBERS["judge"], "descriptors": ["loudness"]})


def test_the_judge_is_worth_something():
    heard = NUMBERS["leave_one_file_out"]
    assert heard["accuracy"] >= 0.9
    assert len(heard["wrong"]) == round(heard["files"] * (1 - heard["accuracy"]))


def test_real_one_shots_are_recognised_and_are_those_listed(recordings):
    listed = {row["name"]: row for row in NUMBERS["files"]}
    found = one_shots(recordings / "one_shots")
    assert len(found) >= 8
    for shot in found:
        assert listed[shot.name]["pcm_sha256"] == shot.pcm_sha256
        assert shipped_judge().classify(shot.sound) == shot.hit


def test_the_same_files_give_the_same_numbers():
    if not SAMPLES.is_dir():
        pytest.skip(f"no {SAMPLES}: install Debian's sonic-pi-samples")
    made = document(SAMPLES)
    assert made["files"] == NUMBERS["files"]
    assert made["leave_one_file_out"] == NUMBERS["leave_one_file_out"]
    for name in ("centre", "scale", "weights", "offsets"):
        assert np.array(made["judge"][name]) == pytest.approx(
            np.array(NUMBERS["judge"][name]), rel=1e-3, abs=1e-4
        )


def test_a_hit_is_read_in_mono_and_at_another_rate(tmp_path):
    sf.write(tmp_path / "sn_mine.flac", 0.5 * SOUNDS["snare"][::2] / np.abs(SOUNDS["snare"]).max(), RATE // 2)
    sf.write(tmp_path / "unknown.flac", np.zeros(100), RATE)
    (shot,) = one_shots(tmp_path)
    assert (shot.hit, shot.sound.shape) == ("snare", (2, RATE))
