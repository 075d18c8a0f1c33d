"""Heads of the starter's transformer that look back by the beat."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import StableAudio3DiTModel
from diffusers.models.transformers.transformer_stable_audio3 import _apply_rotary_partial

from finetune.base_model.loading import rotary_frequencies
from finetune.base_model.starter.geometry import CONDITION_WIDTH, TEXT_TOKENS, TRANSFORMER
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


@pytest.fixture(scope="module")
def transformer() -> Any:
    torch.manual_seed(0)
    model = StableAudio3DiTModel(**TRANSFORMER)
    silence_branches(model)
    listen_back(model)
    return model.eval()


def test_frequencies_are_those_of_the_model(transformer: Any) -> None:
    mine = rotary_frequencies(TURNED)
    torch.testing.assert_close(mine, transformer.rotary_pos_emb.inv_freq)


def test_codes_are_turns_of_the_lags_and_nothing_without_a_tempo() -> None:
    frequencies = rotary_frequencies(TURNED)
    codes = beat_codes(torch.tensor([120.0, 0.0]), frequencies)
    assert codes.shape == (2, CODES)
    assert (codes[1] == 0).all()
    beat = FRAMES_PER_MINUTE / 120
    assert beat == pytest.approx(0.5 * 44100 / 1024)
    assert float(codes[0, CODE]) == pytest.approx(float((beat * frequencies[0]).cos()), abs=1e-4)
    assert codes[0].square().sum() == pytest.approx(CODES / 2)


@pytest.mark.parametrize(
    ("block", "head", "lag"), [(b, h, n) for b, ns in HEARD_BY.items() for h, n in enumerate(ns)]
)
def test_heads_look_back_by_the_beat_that_words_name(
    transformer: Any, block: int, head: int, lag: int
) -> None:
    looked = looked_at(transformer, block, head)
    for weights, bpm in zip(looked, TEMPI, strict=True):
        distance = LAGS[lag][0] * FRAMES_PER_MINUTE / bpm
        near = [FRAMES - 1 - round(distance) + away for away in (-2, -1, 0, 1, 2)]
        assert weights[near].sum() > 0.6, "most of what this head hears"
        assert abs(FRAMES - 1 - int(weights.argmax()) - distance) <= 1.5


@torch.no_grad()
def looked_at(transformer: Any, block: int, head: int) -> torch.Tensor:
    """(tempi, frames): the attention of the last frame, when every text state tells the tempo."""
    codes = beat_codes(torch.tensor(TEMPI), rotary_frequencies(TURNED))
    text = torch.zeros(len(TEMPI), TEXT_TOKENS + 1, CONDITION_WIDTH)
    text[:, :WORDS, :CODES] = codes[:, None]
    text[:, -1] = torch.randn(
        CONDITION_WIDTH, generator=torch.Generator().manual_seed(1)
    )  # the duration's token
    attention, caught = transformer.transformer_blocks[block].self_attn, []
    hook = attention.to_qkv.register_forward_hook(lambda _module, _given, out: caught.append(out))
    noise = torch.randn(
        len(TEMPI), TRANSFORMER["io_channels"], FRAMES, generator=torch.Generator().manual_seed(0)
    )
    length = torch.zeros(len(TEMPI), CONDITION_WIDTH)
    transformer(noise, torch.full((len(TEMPI),), 0.95), text, length)
    hook.remove()
    queries, keys, _ = (x.unflatten(-1, (attention.heads, -1)) for x in caught[0].chunk(3, dim=-1))
    rope = transformer.rotary_pos_emb(queries.shape[1], queries.device)
    queries = _apply_rotary_partial(attention.q_norm(queries), rope)[:, -1, head]
    keys = _apply_rotary_partial(attention.k_norm(keys), rope)[:, :, head]
    scores = torch.einsum("bc,btc->bt", queries, keys) / attention.dim_heads**0.5
    return scores.softmax(-1)[:, -FRAMES:]
