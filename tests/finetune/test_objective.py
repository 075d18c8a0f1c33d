"""The objective against closed forms and independent formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linear_sum_assignment

from finetune.base_model.stability.shift import TRAINING_SHIFT
from finetune.objective import (
    add_noise,
    draw_kept_mask,
    draw_silence_frames,
    draw_some,
    draw_timesteps,
    masked_loss,
    pair_noise,
)


def seed(number: int) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def test_timesteps_follow_the_cut_logistic_normal() -> None:
    """Against a rejection sampler: sigmoid of a normal, kept above 0.075, stretched to 0..1, and flipped."""
    normal = np.random.default_rng(0).standard_normal(400_000)
    logistic = 1 / (1 + np.exp(-normal))
    kept = logistic[logistic > 0.075]
    expected = 1 - (kept - 0.075) / 0.925
    got = draw_timesteps(200_000, seed(1)).numpy()
    assert stats.ks_2samp(got, expected).statistic < 0.005
    assert got.min() > 0 and got.max() <= 1
    assert got.mean() == pytest.approx(expected.mean(), abs=0.002)


def test_the_shift_is_the_documented_formula() -> None:
    t = torch.linspace(0.01, 0.99, 50)
    for frames in (10, 256, 1000, 4096, 9000):
        mu = -(0.5 + 0.65 * (min(max(frames, 256), 4096) - 256) / (4096 - 256))
        expected = 1 - math.e**mu / (math.e**mu + (1 / (1 - t) - 1))
        torch.testing.assert_close(TRAINING_SHIFT.shifted(t, torch.full((50,), frames)), expected)


def test_the_shift_keeps_both_ends_and_adds_noise_between() -> None:
    t = torch.tensor([0.0, 0.5, 1.0])
    short, long = (TRAINING_SHIFT.shifted(t, torch.full((3,), frames)) for frames in (256, 4096))
    assert short[0] == long[0] == 0 and short[2] == long[2] == 1
    assert 0.5 < short[1] < long[1]
    assert long[1] == pytest.approx(math.exp(1.15) / (1 + math.exp(1.15)))


def test_noising_goes_straight_from_sound_to_noise() -> None:
    x, noise = torch.randn(3, 2, 5), torch.randn(3, 2, 5)
    got = add_noise(x, noise, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(got[0], x[0])
    torch.testing.assert_close(got[1], 0.75 * x[1] + 0.25 * noise[1])
    torch.testing.assert_close(got[2], noise[2])


def test_masks_come_in_the_asked_shares() -> None:
    """A whole mask is certain to be "everything to make" but for a beginning of 0 of 40 frames, 1 in 41."""
    masks = draw_kept_mask(20_000, 40, [0.1, 0.8, 0.1], seed(2))[:, 0]
    everything = (masks.sum(1) == 0).float().mean()
    assert everything == pytest.approx(0.8 + 0.1 / 41, abs=0.01)
    causal = ((masks[:, 1:] <= masks[:, :-1]).all(1) & (masks.sum(1) > 0)).float().mean()
    assert causal > 0.09


@given(st.integers(1, 60), st.integers(0, 1000))
def test_gaps_leave_zeros_and_ones_alone(frames: int, number: int) -> None:
    gaps = draw_kept_mask(4, frames, [1, 0, 0], seed(number))
    assert gaps.shape == (4, 1, frames)
    assert set(gaps.unique().tolist()) <= {0.0, 1.0}
    assert bool((gaps.sum((1, 2)) < frames).all())  # at least one gap, of at least one frame
    beginnings = draw_kept_mask(4, frames, [0, 0, 1], seed(number))[:, 0]
    assert bool((beginnings[:, 1:] <= beginnings[:, :-1]).all())


def test_loss_is_the_mean_of_the_made_plus_that_of_the_given() -> None:
    predicted, target = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    kept = torch.tensor([[[1.0, 1, 0, 0]], [[0.0, 0, 0, 0]]])
    error = (predicted - target) ** 2
    made = (error[0, :, 2:].mean() + error[1].mean()) / 2
    given_part = error[0, :, :2].mean() / 2
    assert masked_loss(predicted, target, kept) == pytest.approx(float(made + given_part))
    half = masked_loss(predicted, target, kept, kept_weight=0.5)
    assert half == pytest.approx(float(made + 0.5 * given_part))
    assert masked_loss(predicted, target) == pytest.approx(float(error.mean()))
    assert masked_loss(predicted, target, torch.zeros(2, 1, 4)) == pytest.approx(float(error.mean()))


def test_pairing_is_a_permutation_that_finds_near_noise() -> None:
    """Noise that is the clips themselves, shuffled and blurred a little, must be put back in order."""
    clips = torch.randn(8, 4, 16, generator=seed(3)) * 3
    order = torch.randperm(8, generator=seed(4))
    noise = clips[order] + 0.1 * torch.randn(8, 4, 16, generator=seed(5))
    torch.testing.assert_close(pair_noise(clips, noise), noise[torch.argsort(order)])


def test_pairing_comes_near_the_best_assignment() -> None:
    clips, noise = torch.randn(6, 2, 3, generator=seed(6)), torch.randn(6, 2, 3, generator=seed(7))
    cost = torch.cdist(clips.flatten(1), noise.flatten(1)).square()
    paired = (clips - pair_noise(clips, noise)).square().sum()
    best = cost.numpy()[linear_sum_assignment(cost.numpy())].sum()
    assert best - 1e-3 <= paired < (best + cost.diag().sum()) / 2


def test_pairing_leaves_a_clip_alone_with_its_noise() -> None:
    noise = torch.randn(1, 2, 3)
    assert pair_noise(torch.randn(1, 2, 3), noise) is noise


def test_dropout_and_silence_have_the_asked_means() -> None:
    assert draw_some(50_000, 0.1, seed(8)).float().mean() == pytest.approx(0.1, abs=0.005)
    generator = seed(9)
    drawn = [draw_silence_frames(43.0, 10_000, generator) for _ in range(20_000)]
    assert np.mean(drawn) == pytest.approx(42.5, rel=0.03)  # whole frames: half a frame below the mean
    assert max(draw_silence_frames(43.0, 5, generator) for _ in range(100)) == 5
    assert draw_silence_frames(0.0, 5, generator) == 0


def test_the_same_generator_draws_the_same() -> None:
    assert torch.equal(draw_timesteps(5, seed(1)), draw_timesteps(5, seed(1)))
    assert torch.equal(
        draw_kept_mask(9, 20, [0.5, 0.2, 0.3], seed(1)), draw_kept_mask(9, 20, [0.5, 0.2, 0.3], seed(1))
    )
