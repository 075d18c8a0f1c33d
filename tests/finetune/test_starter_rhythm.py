"""Heads of the starter's transformer that look back by the beat."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import StableAudio3DiTModel
from diffusers.models.transformers.transformer_stable_audio3 import _apply_rotary_partial
from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder

from finetune.base_model.rotary import rotary_frequencies
from finetune.base_model.starter.geometry import CONDITION_WIDTH, DURATION, TEXT_TOKENS, TRANSFORMER
from finetune.base_model.starter.rhythm import (
    CODE,
    CODES,
    FRAMES_PER_MINUTE,
    HEARD_BY,
    LAGS,
    TURNED,
    beat_codes,
    listen_back,
)
from finetune.base_model.starter.train_diffusion import silence_branches

TEMPI = (90.0, 137.0)
FRAMES = 220
WORDS = 10  # tokens of a short prompt
HEADS = [(block, head, lag) for block, lags in HEARD_BY.items() for head, lag in enumerate(lags)]


@pytest.fixture(scope="module")
def parts() -> torch.nn.ModuleDict:
    return fresh_parts()


@pytest.fixture(scope="module")
def trained() -> torch.nn.ModuleDict:
    """After steps that are large and teach nothing: whatever may change has changed."""
    parts = fresh_parts()
    optimizer = torch.optim.AdamW(parts.parameters(), lr=0.005)
    generator = torch.Generator().manual_seed(3)
    for _ in range(8):
        velocity = velocity_of(parts, torch.randn(2, TRANSFORMER["io_channels"], 40, generator=generator))
        loss = (velocity - torch.randn(velocity.shape, generator=generator)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return parts.eval()


def fresh_parts() -> torch.nn.ModuleDict:
    torch.manual_seed(0)
    transformer = StableAudio3DiTModel(**TRANSFORMER)
    duration_embedder = StableAudio3DurationEmbedder(**DURATION)
    silence_branches(transformer)
    listen_back(transformer, duration_embedder)
    return torch.nn.ModuleDict({"transformer": transformer, "duration_embedder": duration_embedder})


def velocity_of(parts: torch.nn.ModuleDict, noisy: torch.Tensor) -> torch.Tensor:
    """At two tempi, every text state telling the tempo."""
    codes = beat_codes(torch.tensor(TEMPI), rotary_frequencies(TURNED))
    text = torch.zeros(len(TEMPI), TEXT_TOKENS, CONDITION_WIDTH)
    text[:, :WORDS, :CODES] = codes[:, None]
    length = parts["duration_embedder"](torch.tensor([5.0, 5.0]))
    text = torch.cat([text, length[:, None]], dim=1)
    noise = torch.full((len(TEMPI),), 0.95)
    return parts["transformer"](noisy, noise, text, length).sample


def test_frequencies_are_those_of_the_model(parts: torch.nn.ModuleDict) -> None:
    mine = rotary_frequencies(TURNED)
    torch.testing.assert_close(mine, parts["transformer"].rotary_pos_emb.inv_freq)


def test_codes_are_turns_of_the_lags_and_nothing_without_a_tempo() -> None:
    frequencies = rotary_frequencies(TURNED)
    codes = beat_codes(torch.tensor([120.0, 0.0]), frequencies)
    assert codes.shape == (2, CODES)
    assert (codes[1] == 0).all()
    beat = FRAMES_PER_MINUTE / 120
    assert beat == pytest.approx(0.5 * 44100 / 1024)
    assert float(codes[0, CODE]) == pytest.approx(float((beat * frequencies[0]).cos()), abs=1e-4)
    assert codes[0].square().sum() == pytest.approx(CODES / 2)


@pytest.mark.parametrize("when", ["parts", "trained"])
@pytest.mark.parametrize(("block", "head", "lag"), HEADS)
def test_heads_look_back_by_the_beat_that_words_name(
    request: pytest.FixtureRequest, when: str, block: int, head: int, lag: int
) -> None:
    looked = looked_at(request.getfixturevalue(when), block, head)
    for weights, bpm in zip(looked, TEMPI, strict=True):
        distance = LAGS[lag][0] * FRAMES_PER_MINUTE / bpm
        near = [FRAMES - 1 - round(distance) + away for away in (-2, -1, 0, 1, 2)]
        assert weights[near].sum() > 0.6, "most of what this head hears"
        assert abs(FRAMES - 1 - int(weights.argmax()) - distance) <= 1.5


@torch.no_grad()
def looked_at(parts: torch.nn.ModuleDict, block: int, head: int) -> torch.Tensor:
    """(tempi, frames): the attention of the last frame."""
    transformer: Any = parts["transformer"]
    attention, caught = transformer.transformer_blocks[block].self_attn, []
    hook = attention.to_qkv.register_forward_hook(lambda _module, _given, out: caught.append(out))
    generator = torch.Generator().manual_seed(0)
    velocity_of(parts, torch.randn(len(TEMPI), TRANSFORMER["io_channels"], FRAMES, generator=generator))
    hook.remove()
    queries, keys, _ = (x.unflatten(-1, (attention.heads, -1)) for x in caught[0].chunk(3, dim=-1))
    rope = transformer.rotary_pos_emb(queries.shape[1], queries.device)
    queries = _apply_rotary_partial(attention.q_norm(queries), rope)[:, -1, head]
    keys = _apply_rotary_partial(attention.k_norm(keys), rope)[:, :, head]
    scores = torch.einsum("bc,btc->bt", queries, keys) / attention.dim_heads**0.5
    return scores.softmax(-1)[:, -FRAMES:]
