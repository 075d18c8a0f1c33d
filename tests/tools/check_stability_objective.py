"""Draw every part of the training objective from Stability's code and from ours, and print how far the two are apart.

    python -m tests.tools.check_stability_objective CHECKOUT

CHECKOUT is a checkout of Stability-AI/stable-audio-3 (measured on commit 636f906), in an environment that has what its
package imports, and Woodshed. Of random draws the distributions are compared: the largest distance of the two
cumulative ones (Kolmogorov-Smirnov; for 20000 draws of one distribution it is below 0.016, 99 times in 100). Where
nothing is random, the largest difference.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from scipy import stats

from finetune.base_model.stability.shift import training_shift
from finetune.objective import draw_kept_mask, draw_silence_frames, draw_timesteps
from finetune.optimizer import learning_rate
from finetune.recipe import OptimizerGroup

COUNT, FRAMES, SHARES = 20_000, 60, [0.1, 0.8, 0.1]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.check_stability_objective",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkout", type=Path)
    sys.path.insert(0, str(parser.parse_args().checkout))
    random.seed(0)
    torch.manual_seed(0)
    for checks in (shifts, times, silence, masks, schedule):
        for name, value in checks():
            print(f"{name:60} {value:9.2e}")


def shifts() -> Iterator[tuple[str, float]]:
    from stable_audio_3.inference import distribution_shift

    t, frames = torch.rand(COUNT), torch.randint(1, 9000, (COUNT,))
    for kind, made, numbers in (
        ("full", "DistributionShift", {}),
        ("flux", "FluxDistributionShift", {"alpha_min": 1.5, "alpha_max": 6.0}),
        ("logsnr", "LogSNRShift", {}),
    ):
        ours = training_shift({"type": kind, **numbers}).shifted(t, frames)
        theirs = getattr(distribution_shift, made)(**numbers).shift(t, frames)
        yield f"shift by length, {kind}", float((ours - theirs).abs().max())


def times() -> Iterator[tuple[str, float]]:
    from stable_audio_3.inference.sampling import truncated_logistic_normal_rescaled as draw

    yield "times before the shift", distance(1 - draw(COUNT), draw_timesteps(COUNT, seeded()))


def silence() -> Iterator[tuple[str, float]]:
    """After 100 frames of sound, in a window of 2000."""
    from stable_audio_3.training.utils import create_augmented_padding_mask as extend

    valid = (torch.arange(2000) < 100).expand(COUNT, -1)
    generator = seeded()
    ours = [draw_silence_frames(4.0 * 44100 / 4096, 1900, generator) for _ in range(COUNT)]
    yield "frames of silence", distance(extend(valid, 4.0, 44100, 4096).sum(1) - 100, torch.tensor(ours))


def masks() -> Iterator[tuple[str, float]]:
    from stable_audio_3.models.inpainting import random_inpaint_mask as draw

    whole = torch.ones(COUNT, 1, FRAMES)
    _, theirs = draw(whole, whole[:, 0], mask_type_probabilities=SHARES, mask_padding=True)
    ours = draw_kept_mask(COUNT, FRAMES, SHARES, seeded())
    yield "inpainting: frames that are given", distance(theirs.sum((1, 2)), ours.sum((1, 2)))
    borders = [mask.diff(dim=2).abs().sum((1, 2)) for mask in (theirs, ours)]
    yield "inpainting: borders of what is given", distance(*borders)
    places = torch.arange(FRAMES)
    yield "inpainting: where it lies", distance(*((mask * places).sum((1, 2)) for mask in (theirs, ours)))


def schedule() -> Iterator[tuple[str, float]]:
    from stable_audio_3.training.utils import InverseLR

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = InverseLR(optimizer, inv_gamma=50, power=0.5)
    group = OptimizerGroup(learning_rate=1.0, schedule="inverse", inverse_steps=50, inverse_power=0.5)
    worst = 0.0
    for step in range(1, 1000):
        worst = max(worst, abs(optimizer.param_groups[0]["lr"] - learning_rate(group, step, 1000)))
        optimizer.step()
        theirs.step()
    yield "inverse schedule", worst


def distance(theirs: torch.Tensor, ours: torch.Tensor) -> float:
    return float(stats.ks_2samp(theirs.double().numpy(), ours.double().numpy()).statistic)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


if __name__ == "__main__":
    main()
