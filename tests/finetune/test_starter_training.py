"""How the starter base is made: its autoencoder's start, its words, its batches, and a training that may be stopped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderSAME
from safetensors.torch import load_file

from finetune.base_model import load_base
from finetune.base_model.starter import sitting, train_autoencoder, train_diffusion
from finetune.base_model.starter.encoded import NEIGHBOURS, Encoded
from finetune.base_model.starter.geometry import AUTOENCODER
from finetune.base_model.starter.grooves import kit_clips
from finetune.base_model.starter.sitting import Sitting, rate_at
from finetune.base_model.starter.train_autoencoder import STEADY, draw_crops, scale_latents, spectral_loss
from finetune.base_model.starter.transform import COEFFICIENTS, COMPANDED, _expanded, start_as_transform
from finetune.base_model.starter.words import TEMPO_BINS, Facts
from finetune.generate import Request, generate


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return np.concatenate([np.round(clip.audio * 32767).astype(np.int16) for clip in kit_clips(9, 0)], axis=1)


@pytest.fixture(scope="module")
def codec(sound: np.ndarray) -> AutoencoderSAME:
    torch.manual_seed(0)
    model = AutoencoderSAME(**AUTOENCODER).eval()
    start_as_transform(model, sound)
    return model


def distortion_db(model: AutoencoderSAME, audio: torch.Tensor) -> float:
    with torch.no_grad():
        back = model.decode(model.encode(audio).latents).sample
    return float(10 * torch.log10(audio.square().sum() / (audio - back).square().sum()))


def test_untrained_it_codes_sound_and_its_quiet_copy(codec: AutoencoderSAME, sound: np.ndarray) -> None:
    audio = draw_crops(sound, 12, np.random.default_rng(3))
    assert distortion_db(codec, audio) > 4
    assert distortion_db(codec, audio * 0.01) > 3, "forty decibels below"


def test_quiet_sound_takes_its_share_of_the_latents(codec: AutoencoderSAME, sound: np.ndarray) -> None:
    audio = draw_crops(sound, 12, np.random.default_rng(3))
    with torch.no_grad():
        loud, quiet = (codec.encode(audio * gain).latents.std() for gain in (1.0, 0.01))
    assert loud / quiet < 50, "a hundredth of the sound is more than a hundredth of the latents"


def test_what_is_companded_is_expanded_again() -> None:
    slope, (high, wide), (low, narrow) = _expanded()
    for x in (0.01, 0.1, 1.0, 5.0, 15.0):
        y = COMPANDED[0] * x + sum(height * np.tanh(x / knee) for height, knee in COMPANDED[1:])
        again = slope * y + high * np.tanh(y / wide) + low * np.tanh(y / narrow)
        assert again == pytest.approx(x, rel=0.12, abs=0.002)


def test_scaling_changes_latents_and_not_the_sound(codec: AutoencoderSAME, sound: np.ndarray) -> None:
    audio = draw_crops(sound, 4, np.random.default_rng(4))
    with torch.no_grad():
        before = codec.decode(codec.encode(audio).latents).sample
        scale_latents(codec, sound)
        latents = codec.encode(audio).latents
        torch.testing.assert_close(codec.decode(latents).sample, before, atol=1e-3, rtol=1e-3)
        crops = codec.encode(draw_crops(sound, 192, np.random.default_rng(1))).latents
    away = crops - crops.mean((0, 2))[:, None]
    steadiness = (away[:, :, 1:] * away[:, :, :-1]).mean((0, 2)) / away.var((0, 2))
    deviations = crops.std((0, 2))
    assert deviations == pytest.approx(1 + STEADY * steadiness.clamp(min=0), rel=1e-2)
    strengths, phases = deviations[COEFFICIENTS:], deviations[:8]
    assert strengths.min() > 2 * phases.max(), "how loudly is told before how exactly"


def test_a_rise_that_was_not_played_costs_more_than_a_steady_hiss() -> None:
    quiet = torch.zeros(1, 2, 40 * 1024)
    generator = torch.Generator().manual_seed(0)
    hiss = 1e-3 * torch.randn(quiet.shape, generator=generator)
    clicks = quiet.clone()
    clicks[..., ::4096] = 1e-3 * 4096**0.5  # the same power in bursts
    assert spectral_loss(quiet, quiet) == 0
    assert spectral_loss(hiss, quiet) > 0
    assert spectral_loss(clicks, hiss) > spectral_loss(torch.roll(hiss, 5000, -1), hiss)


def test_facts_of_a_caption_become_numbers() -> None:
    library: list[dict[str, Any]] = [
        {"kind": "one-shot", "pieces": ["kick"]},
        {"kind": "loop", "pieces": ["kick", "snare"], "tempo": 92, "metre": "7/8", "swing": 0.6},
    ]
    facts = Facts(library)
    named, tempo, has_tempo = facts.of(library)
    assert facts.names == ["kind=loop", "kind=one-shot", "metre=7/8", "piece=kick", "piece=snare", "swung"]
    assert named.tolist() == [[0, 1, 0, 1, 0, 0], [1, 0, 1, 1, 1, 1]]
    assert has_tempo.tolist() == [False, True]
    assert tempo.shape == (2, TEMPO_BINS)
    assert tempo.sum(1) == pytest.approx([1, 1])
    assert float(facts.centres[tempo[1].argmax()].exp()) == pytest.approx(92, rel=0.02)


def test_batches_hold_clips_of_about_one_length() -> None:
    latents = [torch.full((3, length), float(length)).half() for length in range(10, 210)]
    library = Encoded(latents, [{"frames": length} for length in range(10, 210)], torch.zeros(3, 1))
    for seed in range(20):
        rows, fields = library.draw(400, np.random.default_rng(seed))
        lengths = [f["frames"] for f in fields]
        assert rows.shape[0] == len(lengths) >= 2
        assert max(lengths) - min(lengths) < NEIGHBOURS * len(lengths)
        for row, length in zip(rows, lengths, strict=True):
            assert (row[:, :length] == length).all()
            assert (row[:, length:] == 0).all()


def test_a_part_of_the_library_keeps_clips_and_fields_together() -> None:
    latents = [torch.full((3, 4), float(number)).half() for number in range(6)]
    library = Encoded(latents, [{"number": number} for number in range(6)], torch.zeros(3, 1))
    odd = library.only(lambda fields: fields["number"] % 2)
    assert [fields["number"] for fields in odd.fields] == [1, 3, 5]
    assert [float(clip[0, 0]) for clip in odd.latents] == [1, 3, 5]


def test_longer_clips_are_drawn_more_often() -> None:
    latents = [torch.zeros(3, length).half() for length in (25, 100, 400)]
    library = Encoded(latents, [{}, {}, {}], torch.zeros(3, 1))
    assert library.chances == pytest.approx([1 / 7, 2 / 7, 4 / 7])


def sit(path: Path, stops: list[int]) -> torch.Tensor:
    """A tiny training of 8 steps in several sittings."""
    for stop in stops:
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
        state = Sitting(path, {"model": model}, optimizer)
        while state.done < stop:
            data = torch.randn(4, 3, generator=torch.Generator().manual_seed(state.done))
            loss = model(data).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            state.advance(loss, stop, say_every=100)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_training_goes_on_exactly_where_it_was(tmp_path: Path) -> None:
    once = sit(tmp_path / "once.safetensors", [8])
    assert torch.equal(sit(tmp_path / "twice.safetensors", [3, 8]), once)
    assert not torch.equal(sit(tmp_path / "less.safetensors", [7]), once)


def test_the_rate_warms_up_and_falls_to_a_fiftieth() -> None:
    assert rate_at(1.0, 100, 0, 1000) == pytest.approx(0.01)
    assert rate_at(1.0, 100, 500, 1000) == pytest.approx(0.51)
    assert rate_at(1.0, 100, 1000, 1000) == pytest.approx(0.02)


def test_the_two_commands_make_a_base_and_may_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_diffusion, "WORD_STEPS", 2)
    monkeypatch.setattr(sitting, "SAVE_EVERY_SECONDS", -1)
    rates = {"learning_rate": 3e-4, "decoder_learning_rate": 2e-4}
    train_autoencoder.train(tmp_path, steps=1, decoder_steps=1, batch=1, kits=1, **rates)
    train = partial(train_diffusion.train, tmp_path, steps=3, frames=300, learning_rate=1e-3, kits=1)
    train()
    sound = generate(load_base(str(tmp_path / "weights")), Request("a snare", 0.5, steps=2))
    assert sound.shape == (2, 22050)
    assert np.isfinite(sound).all()
    transformer = tmp_path / "weights" / "transformer" / "diffusion_pytorch_model.safetensors"
    whole = transformer.read_bytes()
    (tmp_path / "diffusion.state.safetensors").unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_diffusion, "rate_at", stopping_before(2))
        train()
    assert load_file(tmp_path / "diffusion.state.safetensors")["done"] == 2
    train()
    assert transformer.read_bytes() == whole


def stopping_before(last: int) -> Callable[[float, int, int, int], float]:
    def rate(learning_rate: float, warmup: int, step: int, steps: int) -> float:
        if step == last:
            raise KeyboardInterrupt
        return rate_at(learning_rate, warmup, step, steps)

    return rate
