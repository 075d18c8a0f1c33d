"""The faults of diffusers' port that loading mends, each by a test that fails without the mending."""

from __future__ import annotations

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from finetune.base_model import (
    BaseModel,
    Conditions,
    PromptEmbedding,
    decoding,
    find_base,
    fingerprint,
    load_base,
)
from finetune.base_model.chunks import CHUNK_LATENTS, OVERLAP_LATENTS, chunk_starts
from finetune.errors import WoodshedError


def captured(base: BaseModel, conditions: Conditions) -> dict[str, torch.Tensor]:
    """What `velocity` hands to the transformer."""
    seen: dict[str, torch.Tensor] = {}
    real = base.transformer.forward

    def forward(**arguments: torch.Tensor) -> object:
        seen.update(arguments)
        return real(**arguments)

    base.transformer.forward = forward
    batch = len(conditions.prompts)
    base.velocity(torch.randn(batch, base.latent_channels, 5), torch.full((batch,), 0.5), conditions)
    return seen


def prompt(base: BaseModel, tokens: int) -> PromptEmbedding:
    return PromptEmbedding(torch.ones(tokens, base.transformer.config.cond_token_dim))


def test_block_norms_have_stabilitys_epsilon(tiny_base: BaseModel) -> None:
    for block in tiny_base.transformer.transformer_blocks:
        assert [n.eps for n in (block.pre_norm, block.cross_attend_norm, block.ff_norm)] == [1e-5] * 3
        assert block.self_attn.q_norm.eps == 1e-6, "the query and key norms have 1e-6 in both"


def test_frequencies_survive_a_16_bit_load(tiny_base_folder: Path) -> None:
    base = load_base(str(tiny_base_folder), torch.bfloat16)
    inverse = base.transformer.rotary_pos_emb.inv_freq
    assert inverse.dtype == torch.float32
    width = 2 * len(inverse)
    torch.testing.assert_close(inverse, torch.tensor([10000 ** (-i / width) for i in range(0, width, 2)]))
    freqs = base.duration_embedder.freqs
    assert freqs.dtype == torch.float32
    steps = len(freqs) - 1
    closed_form = [0.5 * (10000 / 0.5) ** (i / steps) for i in range(steps + 1)]
    torch.testing.assert_close(freqs, torch.tensor(closed_form), rtol=1e-5, atol=0)
    assert base.transformer.proj_in.weight.dtype == torch.bfloat16
    assert {p.dtype for p in base.autoencoder.parameters()} == {torch.float32}


def test_local_condition_is_zeros_and_not_nothing(tiny_base: BaseModel) -> None:
    conditions = Conditions([prompt(tiny_base, 3)], torch.tensor([2.0]))
    given = captured(tiny_base, conditions)["local_add_cond"]
    assert given.shape == (1, 1 + tiny_base.latent_channels, 5)
    assert not given.any()


def test_given_audio_reaches_the_model_behind_its_mask(tiny_base: BaseModel) -> None:
    mask = torch.tensor([[[1.0, 1, 0, 0, 0]]])
    latents = torch.randn(1, tiny_base.latent_channels, 5) * mask
    seen = captured(tiny_base, Conditions([prompt(tiny_base, 3)], torch.tensor([2.0]), None, mask, latents))
    assert torch.equal(seen["local_add_cond"], torch.cat([mask, latents], dim=1))


def test_prompt_is_padded_with_the_learned_embedding_and_ends_with_the_duration(tiny_base: BaseModel) -> None:
    context = captured(tiny_base, Conditions([prompt(tiny_base, 3)], torch.tensor([2.0])))[
        "encoder_hidden_states"
    ]
    assert context.shape[1] == tiny_base.prompt_tokens + 1
    assert torch.equal(context[0, :3], torch.ones_like(context[0, :3]))
    padding = tiny_base.transformer.prompt_padding_embedding
    assert torch.equal(context[0, 3:-1], padding.expand(tiny_base.prompt_tokens - 3, -1))
    assert torch.equal(context[0, -1], tiny_base.duration_embedder(torch.tensor([2.0]))[0])


def test_unconditional_branch_sees_zeros_the_duration_token_too(tiny_base: BaseModel) -> None:
    two = Conditions([prompt(tiny_base, 3)] * 2, torch.tensor([2.0, 2.0]), torch.tensor([False, True]))
    seen = captured(tiny_base, two)
    assert not seen["encoder_hidden_states"][1].any()
    assert seen["encoder_hidden_states"][0].any()
    assert seen["global_hidden_states"][1].any(), "the global duration stays"


def test_timestep_stays_in_float32_beside_a_16_bit_model(tiny_base_folder: Path) -> None:
    base = load_base(str(tiny_base_folder), torch.bfloat16)
    seen: dict[str, torch.Tensor] = {}
    base.transformer.register_forward_pre_hook(lambda _, __, given: seen.update(given), with_kwargs=True)
    t = torch.tensor([0.123456789])
    base.velocity(torch.randn(1, base.latent_channels, 5).bfloat16(), t, Conditions([prompt(base, 2)], t))
    assert torch.equal(seen["timestep"], t)


@pytest.mark.parametrize("frames", [CHUNK_LATENTS - 1, CHUNK_LATENTS, CHUNK_LATENTS + 1, 300])
def test_chunked_autoencoder_equals_the_whole(tiny_base: BaseModel, frames: int) -> None:
    with torch.no_grad():
        for parameter in tiny_base.autoencoder.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # its layers begin as no-ops
    samples = frames * tiny_base.samples_per_latent
    audio = torch.randn(1, 2, samples) * 0.1
    whole = tiny_base.autoencoder.encode(audio).latents
    torch.testing.assert_close(tiny_base.encode_audio(audio), whole, rtol=1e-3, atol=1e-5)
    sound = tiny_base.autoencoder.decode(whole).sample.clamp(-1, 1)
    torch.testing.assert_close(tiny_base.decode_latents(whole), sound, rtol=1e-3, atol=1e-5)


def test_chunks_cover_everything_with_stabilitys_overlap() -> None:
    for frames in range(1, 1000, 7):
        starts = chunk_starts(frames)
        assert starts[0] == 0
        assert max(starts) + CHUNK_LATENTS >= frames
        assert all(b - a <= CHUNK_LATENTS - OVERLAP_LATENTS for a, b in pairwise(starts))


def test_a_prompts_embedding_does_not_depend_on_padding(tiny_base: BaseModel) -> None:
    alone = tiny_base.encode_prompt("kick snare").tokens
    encoded = tiny_base.tokenizer("kick snare", padding="max_length", max_length=12, return_tensors="pt")
    padded = tiny_base.text_encoder(input_ids=encoded.input_ids, attention_mask=encoded.attention_mask)
    torch.testing.assert_close(padded.last_hidden_state[0, : len(alone)], alone)


def test_an_empty_prompt_is_padding_only(tiny_base: BaseModel) -> None:
    assert tiny_base.encode_prompt("").tokens.shape[0] == 0


def test_released_encoders_come_back_for_decoding(tiny_base: BaseModel) -> None:
    latents = torch.randn(1, tiny_base.latent_channels, 4)
    before = tiny_base.decode_latents(latents)
    tiny_base.release_encoders()
    with pytest.raises(WoodshedError, match="released"):
        tiny_base.decode_latents(latents)
    with decoding(tiny_base):
        assert torch.equal(tiny_base.decode_latents(latents), before)
    assert tiny_base.autoencoder is None


def test_fingerprint_changes_with_one_byte_of_a_weight(tiny_base_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_base_folder, copy)
    assert fingerprint(copy) == fingerprint(tiny_base_folder)
    weights = next((copy / "transformer").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert fingerprint(copy) != fingerprint(tiny_base_folder)


def test_post_trained_bases_are_known_by_their_scheduler(tiny_base_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_base_folder, copy)
    (copy / "scheduler").mkdir()
    (copy / "scheduler" / "scheduler_config.json").write_text(json.dumps({"stochastic_sampling": True}))
    assert load_base(str(copy)).post_trained
    assert not load_base(str(tiny_base_folder)).post_trained


def test_folders_that_are_no_base_are_named(tiny_base_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WoodshedError, match=r"no folder '.*nowhere'"):
        find_base(str(tmp_path / "nowhere"))
    copy = tmp_path / "copy"
    shutil.copytree(tiny_base_folder, copy)
    shutil.rmtree(copy / "vae")
    with pytest.raises(WoodshedError, match="lacks vae"):
        find_base(str(copy))


def test_a_truncated_weight_file_is_a_sentence(tiny_base_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_base_folder, copy)
    weights = next((copy / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WoodshedError, match="could not be loaded"):
        load_base(str(copy))


def test_frames_hold_all_samples(tiny_base: BaseModel) -> None:
    per = tiny_base.samples_per_latent
    assert [tiny_base.frames(n) for n in (1, per, per + 1)] == [1, 1, 2]
    assert tiny_base.seconds_to_frames(1.0) == math.ceil(44100 / per)
