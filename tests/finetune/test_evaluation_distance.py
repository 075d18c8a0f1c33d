"""Maximum mean discrepancy and its bootstrap against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest

from finetune.evaluation.bootstrap import interval, resample_counts
from finetune.evaluation.distance import BANDS, compare, describe_clip
from finetune.evaluation.mmd import WIDTHS, bandwidth, clip_kernel, mmd_squared

RATE = 44_100


def clips(rng: np.random.Generator, count: int, windows: int = 1, mean: float = 0.0) -> list[np.ndarray]:
    return [rng.normal(mean, 1, (windows, 3)) for _ in range(count)]


def mmd(x: list[np.ndarray], y: list[np.ndarray], width: float = 1.5) -> float:
    return float(mmd_squared(clip_kernel(x, x, width), clip_kernel(y, y, width), clip_kernel(x, y, width))[0])


def gaussian_mmd_squared(shift: float, width: float) -> float:
    """Closed form for two unit normals in 3 dimensions, `shift` apart on every axis, mean over WIDTHS."""
    total = 0.0
    for share in WIDTHS:
        variance = (width * share) ** 2
        same = (variance / (variance + 2)) ** 1.5
        total += 2 * same * (1 - np.exp(-3 * shift**2 / (2 * (variance + 2))))
    return total / len(WIDTHS)


def test_mmd_is_unbiased_for_equal_and_for_shifted_gaussians():
    rng = np.random.default_rng(0)
    for shift in (0.0, 0.7):
        draws = [mmd(clips(rng, 12), clips(rng, 9, mean=shift)) for _ in range(400)]
        error = np.std(draws) / np.sqrt(len(draws))
        assert np.mean(draws) == pytest.approx(gaussian_mmd_squared(shift, 1.5), abs=4 * error)


def test_mmd_of_clips_of_several_windows_is_that_of_their_windows():
    rng = np.random.default_rng(1)
    draws = [mmd(clips(rng, 8, windows=4), clips(rng, 8, windows=6, mean=1.0)) for _ in range(100)]
    error = np.std(draws) / np.sqrt(len(draws))
    assert np.mean(draws) == pytest.approx(gaussian_mmd_squared(1.0, 1.5), abs=4 * error)


def test_counts_are_as_if_the_clips_were_there_so_often():
    rng = np.random.default_rng(2)
    x, y = clips(rng, 3), clips(rng, 2, mean=0.5)
    xx, yy, xy = clip_kernel(x, x, 1.0), clip_kernel(y, y, 1.0), clip_kernel(x, y, 1.0)
    counted = mmd_squared(xx, yy, xy, np.array([[1, 1, 0]]), np.array([[1, 1]]))
    assert counted[0] == pytest.approx(mmd(x[:2], y, 1.0))
    twice = mmd_squared(xx, yy, xy, np.array([[2, 2, 2]]), np.array([[2, 2]]))
    assert twice[0] == pytest.approx(mmd(x, y, 1.0))


def test_bandwidth_is_the_median_distance():
    assert bandwidth(np.array([[0.0], [1.0], [3.0]])) == 2
    assert bandwidth(np.zeros((1, 4))) == 1


def test_resampling_draws_as_many_and_never_one_alone():
    counts = resample_counts(3, 500, seed=0)
    assert (counts.sum(1) == 3).all()
    assert ((counts > 0).sum(1) >= 2).all()
    assert np.array_equal(counts, resample_counts(3, 500, seed=0))
    with pytest.raises(ValueError, match="two items"):
        resample_counts(1, 10, seed=0)


def test_bootstrap_interval_of_a_mean_has_the_width_of_theory():
    values = np.random.default_rng(3).standard_normal(200)
    means = resample_counts(200, 4000, seed=1) @ values / 200
    low, high = interval(means)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.01)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.05)


def burst(seed: int, low_share: float) -> np.ndarray:
    """Two seconds of clicks, dull or bright."""
    rng = np.random.default_rng(seed)
    sound = np.zeros((2, 2 * RATE))
    for start in range(0, 2 * RATE - 4000, RATE // 4):
        noise = rng.standard_normal((2, 4000)) * np.exp(-np.arange(4000) / 600)
        sound[:, start : start + 4000] += low_share * np.cumsum(noise, axis=1) / 20 + (1 - low_share) * noise
    return sound


def test_windows_of_a_clip_and_no_matter_how_loud():
    sound = burst(0, 0.5)
    assert describe_clip(sound, RATE).shape == (6, 2 * BANDS)
    assert describe_clip(0.1 * sound, RATE) == pytest.approx(describe_clip(sound, RATE), abs=1e-3)
    assert describe_clip(sound[:, :4000], RATE).shape == (1, 2 * BANDS)


def test_an_adapter_that_plays_like_the_player_is_closer():
    played = [burst(seed, 0.9) for seed in range(12)]
    base = [burst(seed, 0.1) for seed in range(20, 28)]
    adapted = [burst(seed, 0.8) for seed in range(30, 38)]
    found = compare(base, adapted, played[:8], played[8:], RATE)
    assert found.base > found.adapted > found.floor
    assert abs(found.floor) < 0.05 * found.base
    assert 0 < found.gain_low < found.gain < found.gain_high


def test_an_adapter_that_does_nothing_is_not_closer():
    played = [burst(seed, 0.9) for seed in range(8)]
    base = [burst(seed, 0.1) for seed in range(20, 28)]
    again = [burst(seed, 0.1) for seed in range(40, 48)]
    found = compare(base, again, played[:4], played[4:], RATE)
    assert found.gain_low < 0 < found.gain_high
    assert compare(base, base, played[:4], played[4:], RATE).gain == 0
