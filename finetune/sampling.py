"""From noise to latents in steps, as Stability samples: the times, guidance, and three samplers.

Pure functions on tensors. `predict(x, t)` is the velocity at the time `t`, 1 noise to 0 sound: x (batch, channels,
frames), t a scalar tensor. `draw()` is fresh noise of the same shape.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Draw = Callable[[], torch.Tensor]
Sampler = Callable[[Predict, torch.Tensor, torch.Tensor, Draw], torch.Tensor]


def schedule(steps: int, shift: Callable[[torch.Tensor], torch.Tensor], noise: float = 1.0) -> torch.Tensor:
    """(steps + 1,) times from `noise` to 0 (clean): even steps, moved by the base's `shift`, but for the first.

    A whole generation goes from 1. One that begins from given sound, mixed with `noise` of noise, is first looked at
    at that time; the times after it are those of even steps from `noise`, moved, as in Stability's program. By the
    usual shift 0.7 lies at 0.98: the times may first rise.
    """
    times = shift(torch.linspace(noise, 0.0, steps + 1)).clone()
    times[0] = noise
    return times


def guide(
    x: torch.Tensor, t: torch.Tensor, asked: torch.Tensor, free: torch.Tensor, guidance: float
) -> torch.Tensor:
    """Adaptive projected guidance (Sadat et al. 2024), as Stability samples: only the part of the difference between
    the asked and the free prediction that is orthogonal to the asked sound is amplified. All (batch, channels, frames).
    """
    sound, other = x - t * asked, x - t * free
    difference = sound - other
    direction = sound / torch.linalg.vector_norm(sound, dim=(1, 2), keepdim=True).clamp(min=1e-8)
    along = (difference * direction).sum(dim=(1, 2), keepdim=True) * direction
    return (x - (sound + (guidance - 1) * (difference - along))) / t


def euler(predict: Predict, x: torch.Tensor, times: torch.Tensor, draw: Draw) -> torch.Tensor:
    """Straight steps along the velocity: what bases are sampled with."""
    for now, then in itertools.pairwise(times):
        x = x + (then - now) * predict(x, now)
    return x


def ping_pong(predict: Predict, x: torch.Tensor, times: torch.Tensor, draw: Draw) -> torch.Tensor:
    """To the sound at once, then back to less noise with fresh noise: what post-trained models are sampled with."""
    for now, then in itertools.pairwise(times):
        sound = x - now * predict(x, now)
        x = (1 - then) * sound + then * draw()
    return x


def dpm_plus_plus(predict: Predict, x: torch.Tensor, times: torch.Tensor, draw: Draw) -> torch.Tensor:
    """DPM-Solver++ (2M) of Lu et al. 2022 for rectified flow: steps to a sound that is extrapolated from the last two.

    The first step and the last are Euler's.
    """
    before, last = None, torch.tensor(0.0)
    for now, then in itertools.pairwise(times):
        sound = x - now * predict(x, now)
        step = _log_snr(then) - _log_snr(now)
        aim = sound
        if before is not None and then > 0:
            aim = sound + (step / (2 * last)) * (sound - before)
        x = (then / now) * x + (1 - then / now) * aim
        before, last = sound, step
    return x


def _log_snr(t: torch.Tensor) -> torch.Tensor:
    return ((1 - t).clamp(min=1e-10) / t.clamp(min=1e-10)).log()


SAMPLERS: dict[str, Sampler] = {"euler": euler, "pingpong": ping_pong, "dpmpp": dpm_plus_plus}
