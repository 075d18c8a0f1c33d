"""Sampling: its times, its guidance, and what each sampler makes of a velocity that is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from finetune.base_model.stability.shift import SAMPLING_SHIFT
from finetune.sampling import SAMPLERS, Sampler, dpm_plus_plus, euler, guide, ping_pong, schedule

SHAPE = (2, 3, 4)


def times(steps: int, noise: float = 1.0) -> torch.Tensor:
    return schedule(steps, lambda t: SAMPLING_SHIFT.shifted(t, 44), noise)


def test_times_are_even_in_log_snr_between_their_ends() -> None:
    t = times(50)
    assert t[0] == 1.0
    assert t[-1] == 0.0
    assert (t.diff() < 0).all()
    log_snr = [math.log((1 - x) / x) for x in t[1:-1].tolist()]
    assert np.allclose(np.diff(log_snr), 8.2 / 50, atol=1e-4)


def test_given_sound_is_looked_at_first_as_it_was_mixed() -> None:
    for noise in (0.05, 0.7, 1.0):
        t = times(8, noise)
        assert t[0] == torch.tensor(noise)
        assert t[-1] == 0.0
        assert (t[1:].diff() < 0).all()
    assert times(8, 0.7)[1] == pytest.approx(1 / (1 + math.exp(2 - 8.2 * 0.7 * 7 / 8)), rel=1e-6)


def test_no_guidance_is_the_asked_prediction() -> None:
    x, asked, free = torch.randn(3, 1, 4, 6, dtype=torch.float64).unbind(0)
    torch.testing.assert_close(guide(x, torch.tensor(0.4), asked, free, 1.0), asked, rtol=1e-6, atol=1e-6)


def test_guidance_adds_only_what_is_orthogonal_to_the_asked_sound() -> None:
    x, asked, free = torch.randn(3, 1, 4, 6, dtype=torch.float64).unbind(0)
    t = torch.tensor(0.4, dtype=torch.float64)
    sound = x - t * asked
    added = (x - t * guide(x, t, asked, free, 5.0)) - sound
    assert abs((added * sound).sum()) < 1e-9
    difference = t * (free - asked)
    along = (difference * sound).sum() / sound.square().sum() * sound
    torch.testing.assert_close(added, 4 * (difference - along))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_ends_at_the_sound_that_every_look_shows(sampler: str) -> None:
    sound, noise = torch.randn(2, *SHAPE).unbind(0)
    for steps in (1, 2, 7):
        got = SAMPLERS[sampler](lambda x, t: (x - sound) / t, noise, times(steps), lambda: torch.randn(SHAPE))
        torch.testing.assert_close(got, sound, atol=1e-5, rtol=1e-5)


def test_euler_with_one_step_is_noise_minus_velocity() -> None:
    x, velocity = torch.randn(2, *SHAPE).unbind(0)
    assert torch.equal(euler(lambda x, t: velocity, x, times(1), lambda: x), x - velocity)


def test_ping_pong_mixes_each_sound_with_fresh_noise() -> None:
    t = torch.tensor([1.0, 0.6, 0.25, 0.0])
    x, first, second, last = torch.randn(4, *SHAPE).unbind(0)
    drawn = iter([first, second, last])
    seen: list[torch.Tensor] = []

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return x

    got = ping_pong(predict, x, t, lambda: next(drawn))
    torch.testing.assert_close(seen[1], 0.6 * first)  # at t = 1 a velocity of x leaves no sound
    sound = seen[1] - 0.6 * seen[1]
    torch.testing.assert_close(seen[2], 0.75 * sound + 0.25 * second)
    torch.testing.assert_close(got, seen[2] - 0.25 * seen[2])


def test_dpm_plus_plus_is_of_second_order_and_euler_of_first() -> None:
    """Along a velocity of -0.8 x, x at the time t is exp(-0.8 t)."""

    def error(sampler: Sampler, steps: int) -> float:
        t = torch.linspace(0.95, 0.05, steps + 1, dtype=torch.float64)
        got = sampler(lambda x, t: -0.8 * x, torch.exp(-0.8 * t[:1, None, None]), t, lambda: torch.zeros(1))
        return abs(got.item() - math.exp(-0.8 * 0.05))

    assert error(euler, 20) / error(euler, 40) == pytest.approx(2, rel=0.1)
    assert error(dpm_plus_plus, 20) / error(dpm_plus_plus, 40) > 3
    assert error(dpm_plus_plus, 20) < error(euler, 20) / 3
