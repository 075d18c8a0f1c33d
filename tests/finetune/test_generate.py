"""From requests to sound: seeds, batches, what the base is told, what is given and kept."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.base_model import BaseModel, Conditions, PromptEmbedding
from finetune.errors import WoodshedError
from finetune.generate import (
    Request,
    check_request,
    generate,
    generate_batch,
    latent_frames,
    make_conditions,
    sample,
    sample_latents,
)
from finetune.given import GivenLatents


def test_one_euler_step_is_noise_minus_velocity(tiny_base: BaseModel) -> None:
    request = Request("kick", 0.5, seed=3, steps=1, guidance=1.0)
    velocity = torch.randn(1, tiny_base.latent_channels, tiny_base.seconds_to_frames(0.5))
    tiny_base.velocity = lambda noisy, t, conditions: velocity  # type: ignore[method-assign]
    noise = torch.randn(velocity.shape, generator=torch.Generator().manual_seed(3))
    got = sample_latents(tiny_base, tiny_base.encode_prompt("kick"), request)
    torch.testing.assert_close(got, noise - velocity)


@pytest.mark.parametrize("sampler", ["euler", "pingpong"])
def test_the_same_seed_is_the_same_sound_and_another_is_not(tiny_base: BaseModel, sampler: str) -> None:
    prompt = tiny_base.encode_prompt("kick snare")
    request = Request("kick snare", 0.4, steps=3, sampler=sampler)
    draws = [sample_latents(tiny_base, prompt, replace(request, seed=seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("sampler", ["euler", "pingpong", "dpmpp"])
def test_a_batch_is_the_same_sounds_as_one_by_one(tiny_base: BaseModel, sampler: str) -> None:
    requests = [
        Request(words, 0.3, seed, 3, sampler=sampler, negative_prompt="hat")
        for words, seed in (("kick", 1), ("snare dry", 2), ("kick", 2))
    ]
    together = generate_batch(tiny_base, requests)
    for request, sound in zip(requests, together, strict=True):
        np.testing.assert_allclose(sound, generate(tiny_base, request), atol=1e-4)
    assert not np.allclose(together[1], together[2], atol=1e-3)


def test_a_batch_of_unlike_requests_is_refused(tiny_base: BaseModel) -> None:
    with pytest.raises(ValueError, match="same length"):
        generate_batch(tiny_base, [Request("kick", 0.3), Request("kick", 0.4)])


def test_sound_has_the_length_asked_for(tiny_base: BaseModel) -> None:
    for seconds, headroom in ((0.05, 0.0), (0.3333, 0.2), (1.0, 0.0)):
        request = Request("kick", seconds, 0, 1, headroom_seconds=headroom)
        assert generate(tiny_base, request).shape == (2, round(seconds * 44100))
    assert (
        latent_frames(tiny_base, Request("kick", 1.0, headroom_seconds=6)) == 22 + 129
    )  # 44100, 264600 / 2048


def test_without_a_prompt_the_base_is_told_nothing_and_with_a_negative_one_that(tiny_base: BaseModel) -> None:
    """Stability: the half to lead away from has no cross-attention, or the negative prompt, zeros and the duration."""
    kick, hat = tiny_base.encode_prompt("kick"), tiny_base.encode_prompt("slow hat")
    request = Request("kick", 0.5, guidance=3.0)
    told = tiny_base._context(make_conditions(tiny_base, [kick], request), torch.full((2, 32), 7.0))
    assert torch.equal(told[0, :1], kick.tokens)
    assert torch.equal(told[0, 1:16], tiny_base.transformer.prompt_padding_embedding.expand(15, -1))
    assert not told[1].any()
    told = tiny_base._context(
        make_conditions(tiny_base, [kick], request, negative=hat), torch.full((2, 32), 7.0)
    )
    assert torch.equal(told[1, :2], hat.tokens)
    assert not told[1, 2:16].any()
    assert (told[:, 16] == 7).all()


def test_an_excerpt_is_told_the_length_of_its_piece(tiny_base: BaseModel) -> None:
    prompt = tiny_base.encode_prompt("kick")
    for total, told in ((None, 0.5), (40.0, 40.0)):
        request = Request("kick", 0.5, 0, 1, 1.0, total)
        assert make_conditions(tiny_base, [prompt], request).seconds.tolist() == [told]
        assert sample_latents(tiny_base, prompt, request).shape[-1] == tiny_base.seconds_to_frames(0.5)


def test_sampling_begins_from_given_sound_at_its_noise(tiny_base: BaseModel) -> None:
    request = Request("kick", 0.2, steps=3, guidance=1.0)
    frames = latent_frames(tiny_base, request)
    given = torch.randn(tiny_base.latent_channels, frames)
    noise = torch.randn(1, tiny_base.latent_channels, frames)
    seen: list[tuple[torch.Tensor, float]] = []

    def velocity(noisy: torch.Tensor, t: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        assert conditions.kept_mask is None
        seen.append((noisy, t.item()))
        return (noisy - given) / t  # the sound is the given one

    tiny_base.velocity = velocity  # type: ignore[method-assign]
    conditions = make_conditions(tiny_base, [PromptEmbedding(torch.zeros(1, 32))], request)
    unkept = torch.zeros(frames, dtype=torch.bool)
    for amount in (0.3, 1.0):
        seen.clear()
        got = sample(tiny_base, conditions, request, lambda: noise, given=GivenLatents(given, amount, unkept))
        torch.testing.assert_close(seen[0][0], (1 - amount) * given[None] + amount * noise)
        assert seen[0][1] == pytest.approx(amount)
        torch.testing.assert_close(got[0], given, atol=1e-5, rtol=1e-5)


def test_the_base_sees_what_is_kept_in_both_halves_and_at_each_step(tiny_base: BaseModel) -> None:
    request = Request("kick", 0.2, steps=2, guidance=2.0)
    frames = latent_frames(tiny_base, request)
    latents = torch.randn(tiny_base.latent_channels, frames)
    kept = torch.arange(frames) < 2
    seen: list[Conditions] = []
    real = tiny_base.velocity

    def velocity(noisy: torch.Tensor, t: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        seen.append(conditions)
        return real(noisy, t, conditions)

    tiny_base.velocity = velocity  # type: ignore[method-assign]
    times: list[float] = []
    given = GivenLatents(latents, 1.0, kept)
    prompts = [tiny_base.encode_prompt("kick")] * 3
    conditions = make_conditions(tiny_base, prompts, request, None, given)
    sample(
        tiny_base, conditions, request, lambda: torch.randn(3, *latents.shape), given=given, at=times.append
    )
    assert len(seen) == len(times) == 2
    assert times[0] == 1.0
    for told in seen:
        assert told.kept_mask is not None
        assert told.kept_latents is not None
        assert torch.equal(told.kept_mask, kept.float().expand(6, 1, -1))
        assert torch.equal(told.kept_latents, (latents * kept).expand(6, -1, -1))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": "  "}, "prompt is empty"),
        ({"seconds": 0.0}, "out of range"),
        ({"seconds": math.nan}, "out of range"),
        ({"seconds": 1e6}, "out of range"),
        ({"steps": 0}, "--steps 0 is out of range"),
        ({"steps": 10**9}, "--steps 1000000000 is out of range"),
        ({"guidance": math.nan}, "--guidance nan is out of range"),
        ({"seed": -1}, "--seed -1 is out of range"),
        ({"seed": 2**64}, "out of range"),
        ({"sampler": "heun"}, "'heun' is not one of euler, pingpong, dpmpp"),
        ({"headroom_seconds": math.inf}, "--headroom inf is out of range"),
        ({"seconds_total": 0.5}, "shorter than the sound"),
        ({"negative_prompt": "hat", "guidance": 1.0}, "--guidance 1 is none"),
    ],
)
def test_impossible_requests_are_sentences(changes: dict[str, object], words: str) -> None:
    with pytest.raises(WoodshedError, match=words):
        check_request(replace(Request("kick", 1.0), **changes))  # type: ignore[arg-type]
