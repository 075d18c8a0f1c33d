"""The drum synthesiser that the starter base learned from, and what the shipped starter does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from finetune.base_model import BaseModel, find_base, load_base
from finetune.base_model.starter.drums import PIECES, RANGES, STRANGE_RANGES, Kit
from finetune.base_model.starter.grooves import GRIDS, draw_groove, loop, one_shot, training_clips
from finetune.base_model.starter.library import TEMPOS, write_library
from finetune.base_model.starter.prompts import caption_fields, draw_caption
from finetune.generate import Request, generate


def centroid_hz(sound: np.ndarray) -> float:
    """Spectral centroid of (2, samples) audio."""
    power = np.abs(np.fft.rfft(sound.mean(0))) ** 2
    return float((power * np.fft.rfftfreq(sound.shape[1], 1 / 44100)).sum() / power.sum())


def test_a_kit_is_its_seed() -> None:
    for piece in PIECES:
        hit = Kit(3).strike(piece, 0.8, 1)
        assert np.array_equal(hit, Kit(3).strike(piece, 0.8, 1))
        assert not np.array_equal(hit, Kit(4).strike(piece, 0.8, 1))
        assert np.abs(hit).max() == pytest.approx(0.8)


def test_pieces_sound_as_high_as_they_should() -> None:
    for seed in range(5):
        kit = Kit(seed)
        heights = {piece: centroid_hz(np.stack([kit.strike(piece, 0.8, 0)] * 2)) for piece in PIECES}
        assert heights["kick"] < heights["snare"] < heights["closed hi-hat"]
        assert heights["floor tom"] < heights["high tom"]
        assert heights["conga"] < heights["bongo"]


def test_the_demos_drummer_has_a_kit_the_starter_never_saw() -> None:
    moved = [name for name in RANGES if STRANGE_RANGES[name] != RANGES[name]]
    assert len(moved) > len(RANGES) / 2
    for name in moved:
        (low, high), (usual_low, usual_high) = STRANGE_RANGES[name], RANGES[name]
        assert high < usual_low or low > usual_high, name


@pytest.mark.parametrize("metre", list(GRIDS))
def test_loops_are_whole_bars_to_the_sample(metre: str) -> None:
    rng = np.random.default_rng(5)
    groove = draw_groove(rng, metre=metre, bpm=117)
    clip = loop(Kit(1), groove, rng)
    bar = GRIDS[metre] / 4 * 60 / 117 * 44100
    bars = round(clip.audio.shape[1] / bar)
    assert clip.audio.shape == (2, round(bars * bar))
    assert np.abs(clip.audio).max() <= 1
    assert clip.facts["metre"] == metre


def test_training_clips_are_deterministic_and_captioned() -> None:
    first, again = (next(iter(training_clips(4, 1))) for _ in range(2))
    assert np.array_equal(first.audio, again.audio)
    fields = caption_fields(one_shot(Kit(2), "snare", np.random.default_rng(0)).facts, 6000.0)
    captions = {draw_caption(fields, np.random.default_rng(n)) for n in range(40)}
    assert len(captions) > 10
    assert all("one-shot" in caption for caption in captions)
    assert any("snare" in caption and "bright" in caption for caption in captions)


def test_the_library_is_the_same_every_time(tmp_path: Path) -> None:
    ours, theirs = write_library(tmp_path / "a", takes=2), write_library(tmp_path / "b", takes=2)
    assert [p.name for p in ours] == [f"take {n}, {bpm} bpm.wav" for n, bpm in enumerate(TEMPOS[:2], 1)]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def starter() -> BaseModel:
    return load_base("starter")


def test_the_starter_is_small_enough_to_ship() -> None:
    assert sum(p.stat().st_size for p in find_base("starter").rglob("*") if p.is_file()) < 20e6


def test_the_starter_has_stable_audio_3s_parts(starter: BaseModel) -> None:
    assert type(starter.transformer).__name__ == "StableAudio3DiTModel"
    assert type(starter.autoencoder).__name__ == "AutoencoderSAME"
    assert type(starter.text_encoder).__name__ == "T5GemmaEncoderModel"
    assert starter.transformer.config.num_memory_tokens > 0
    assert (starter.sample_rate, starter.post_trained) == (44100, False)


def test_the_autoencoder_keeps_what_was_struck_when(starter: BaseModel) -> None:
    rng = np.random.default_rng(11)
    sound = torch.from_numpy(loop(Kit(991), draw_groove(rng, "4/4", 100), rng).audio)[None]
    back = starter.decode_latents(starter.encode_audio(sound))[..., : sound.shape[-1]]
    distortion = 10 * torch.log10(sound.square().sum() / (sound - back).square().sum())
    assert distortion > 3, "signal to distortion in dB"
    hops = [x[0].mean(0).unfold(0, 1024, 1024).square().mean(-1).add(1e-7).log() for x in (sound, back)]
    assert torch.corrcoef(torch.stack(hops))[0, 1] > 0.9, "the envelope every 23 ms"


def test_low_and_high_pieces_are_told_apart(starter: BaseModel) -> None:
    """Median of five seeds each; snares the crude starter mistakes for hats."""
    asked = {"kick": 1.0, "floor tom": 1.0, "closed hi-hat": 0.5, "crash cymbal": 2.0}
    heights = {
        piece: np.median(
            [
                centroid_hz(generate(starter, Request(f"{piece} one-shot", seconds, seed, 20)))
                for seed in range(5)
            ]
        )
        for piece, seconds in asked.items()
    }
    assert max(heights["kick"], heights["floor tom"]) < 1500
    assert min(heights["closed hi-hat"], heights["crash cymbal"]) > 5000


def test_hits_begin_loud_and_die_away(starter: BaseModel) -> None:
    for piece, seconds in (("kick", 1.0), ("closed hi-hat", 0.5)):
        for seed in range(3):
            sound = generate(starter, Request(f"{piece} one-shot", seconds, seed, 20)).astype(np.float64)
            quarter = sound.shape[1] // 4
            early, late = (part.var() for part in (sound[:, :quarter], sound[:, -quarter:]))
            assert 10 * np.log10(early / late) > 10, f"{piece}, seed {seed}"
