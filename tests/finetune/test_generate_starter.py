"""What docs/generate.md says of sound: the starter, from a loop and with its samplers."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch

from finetune.base_model import BaseModel, load_base
from finetune.generate import Request, decode, latent_frames, sample_batch, sample_latents
from finetune.given import Given, encode_given

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def starter() -> BaseModel:
    return load_base("starter")


def onsets(sound: np.ndarray) -> np.ndarray:
    return librosa.onset.onset_strength(y=sound.mean(0), sr=44100)


@pytest.mark.parametrize(("sampler", "steps", "guidance"), [("euler", 30, 3.0), ("pingpong", 8, 1.0)])
def test_little_noise_keeps_the_hits_of_a_loop_and_much_does_not(
    starter: BaseModel, sampler: str, steps: int, guidance: float
) -> None:
    loop = Request("Instruments: Drum Kit. swung loop of kick, snare and closed hi-hat. BPM: 96", 4.0, 1)
    first = decode(starter, sample_latents(starter, starter.encode_prompt(loop.prompt), loop), loop)[0]
    other = Request("Instruments: Drum Kit. shuffle loop. BPM: 132", 4.0, 2, steps, guidance, sampler=sampler)
    prompt = starter.encode_prompt(other.prompt)
    alike = {}
    for noise in (0.2, 0.7):
        given = encode_given(starter, Given(first, noise), latent_frames(starter, other))
        made = decode(starter, sample_batch(starter, [prompt], [other], given=given), other)[0]
        alike[noise] = np.corrcoef(onsets(made), onsets(first))[0, 1]
    assert alike[0.2] > 0.7
    assert alike[0.7] < 0.4


def test_half_the_steps_of_dpm_plus_plus_come_as_near(starter: BaseModel) -> None:
    prompt = starter.encode_prompt("drum loop, 120 BPM")

    def made(sampler: str, steps: int) -> torch.Tensor:
        request = Request("drum loop, 120 BPM", 2.0, 1, steps, 3.0, sampler=sampler)
        return sample_latents(starter, prompt, request)

    limit = made("euler", 300)
    euler, dpm = ((made(*how) - limit).norm() / limit.norm() for how in (("euler", 50), ("dpmpp", 25)))
    assert dpm < 1.25 * euler
