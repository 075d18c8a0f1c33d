"""Sampling: its schedule, its guidance, its seeds, its files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from finetune.base_model import BaseModel
from finetune.errors import WoodshedError
from finetune.generate import (
    Request,
    check_request,
    generate,
    generate_batch,
    guide,
    sample_latents,
    schedule,
    write_audio,
)


def test_schedule_is_even_in_log_snr_between_its_ends() -> None:
    times = schedule(50)
    assert times[0] == 1.0
    assert times[-1] == 0.0
    assert (times.diff() < 0).all()
    log_snr = [math.log((1 - t) / t) for t in times[1:-1].tolist()]
    assert np.allclose(np.diff(log_snr), 8.2 / 50, atol=1e-4)


def test_no_guidance_is_the_asked_prediction() -> None:
    x, asked, free = torch.randn(3, 1, 4, 6, dtype=torch.float64).unbind(0)
    torch.testing.assert_close(guide(x, 0.4, asked, free, 1.0), asked)


def test_guidance_adds_only_what_is_orthogonal_to_the_asked_sound() -> None:
    x, asked, free = torch.randn(3, 1, 4, 6, dtype=torch.float64).unbind(0)
    t = 0.4
    sound = x - t * asked
    added = (x - t * guide(x, t, asked, free, 5.0)) - sound
    assert abs((added * sound).sum()) < 1e-9
    difference = t * (free - asked)
    along = (difference * sound).sum() / sound.square().sum() * sound
    torch.testing.assert_close(added, 4 * (difference - along))


def test_euler_with_one_step_is_noise_minus_velocity(tiny_base: BaseModel) -> None:
    request = Request("kick", 0.5, seed=3, steps=1, guidance=1.0)
    velocity = torch.randn(1, tiny_base.latent_channels, tiny_base.seconds_to_frames(0.5))
    tiny_base.velocity = lambda noisy, t, conditions: velocity  # type: ignore[method-assign]
    noise = torch.randn(velocity.shape, generator=torch.Generator().manual_seed(3))
    got = sample_latents(tiny_base, tiny_base.encode_prompt("kick"), request)
    torch.testing.assert_close(got, noise - velocity)


def test_the_same_seed_is_the_same_sound_and_another_is_not(tiny_base: BaseModel) -> None:
    prompt = tiny_base.encode_prompt("kick snare")
    draws = [sample_latents(tiny_base, prompt, Request("kick snare", 0.4, seed, 3)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_batch_is_the_same_sounds_as_one_by_one(tiny_base: BaseModel) -> None:
    requests = [Request("kick", 0.3, 1, 3), Request("snare dry", 0.3, 2, 3), Request("kick", 0.3, 2, 3)]
    together = generate_batch(tiny_base, requests)
    for request, sound in zip(requests, together, strict=True):
        np.testing.assert_allclose(sound, generate(tiny_base, request), atol=1e-4)
    assert not np.allclose(together[1], together[2], atol=1e-3)


def test_a_batch_of_unlike_requests_is_refused(tiny_base: BaseModel) -> None:
    with pytest.raises(ValueError, match="same length"):
        generate_batch(tiny_base, [Request("kick", 0.3), Request("kick", 0.4)])


def test_sound_has_the_length_asked_for(tiny_base: BaseModel) -> None:
    for seconds in (0.05, 0.3333, 1.0):
        assert generate(tiny_base, Request("kick", seconds, 0, 1)).shape == (2, round(seconds * 44100))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (Request("  ", 1.0), "prompt is empty"),
        (Request("kick", 0.0), "out of range"),
        (Request("kick", math.nan), "out of range"),
        (Request("kick", 1e6), "out of range"),
        (Request("kick", 1.0, steps=0), "at least 1"),
    ],
)
def test_impossible_requests_are_sentences(request_: Request, words: str) -> None:
    with pytest.raises(WoodshedError, match=words):
        check_request(request_)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_files_are_24_bit_and_round_trip(tmp_path: Path, suffix: str) -> None:
    audio = np.random.default_rng(0).uniform(-1, 1, (2, 1000)).astype(np.float32)
    path = tmp_path / "new" / f"sound.{suffix}"
    write_audio(path, audio, 44100)
    assert sf.info(path).subtype == "PCM_24"
    assert np.abs(sf.read(path)[0].T - audio).max() < 2**-22
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_formats_and_full_disks_are_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = np.zeros((2, 100), np.float32)
    with pytest.raises(WoodshedError, match=r"must end in \.wav or \.flac"):
        write_audio(tmp_path / "sound.mp3", audio, 44100)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sf, "write", full)
    with pytest.raises(WoodshedError, match="No space left"):
        write_audio(tmp_path / "sound.wav", audio, 44100)
    assert not list(tmp_path.iterdir())


def test_an_excerpt_is_told_the_length_of_its_piece(tiny_base: BaseModel) -> None:
    told: list[float] = []
    real = tiny_base.duration_embedder.forward
    tiny_base.duration_embedder.forward = lambda seconds: told.extend(seconds.tolist()) or real(seconds)
    prompt = tiny_base.encode_prompt("kick")
    for total in (None, 40.0):
        latents = sample_latents(tiny_base, prompt, Request("kick", 0.5, 0, 1, 1.0, total))
        assert latents.shape[-1] == tiny_base.seconds_to_frames(0.5)
    assert told == [0.5, 40.0]
