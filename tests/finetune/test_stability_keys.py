"""Names and row order: every tensor of a published checkpoint has exactly one place in diffusers' modules."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune.base_model.stability.geometry import geometry_of
from finetune.base_model.stability.keys import (
    module_of,
    rows_from_stability,
    rows_to_stability,
    stability_key,
    stability_module,
)
from tests.tools.stability_geometry import GEOMETRIES, checkpoint_shapes, model_config

PAIRS = {
    "transformer.transformer_blocks.3.self_attn.to_qkv": "model.model.transformer.layers.3.self_attn.to_qkv",
    "transformer.transformer_blocks.11.ff.proj_in": "model.model.transformer.layers.11.ff.ff.0.proj",
    "transformer.transformer_blocks.0.ff.proj_out": "model.model.transformer.layers.0.ff.ff.2",
    "transformer.proj_in": "model.model.transformer.project_in",
    "transformer.global_cond_embedder.2": "model.model.transformer.global_cond_embedder.2",
    "transformer.to_cond_embed.0": "model.model.to_cond_embed.0",
    "duration_embedder.linear": "conditioner.conditioners.seconds_total.embedder.embedding.1",
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_tensor_of_a_checkpoint_has_one_place(name: str) -> None:
    from diffusers import AutoencoderSAME, StableAudio3DiTModel
    from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder

    geometry = geometry_of(model_config(GEOMETRIES[name], "rectified_flow"))
    with torch.device("meta"):
        parts = {
            "transformer": StableAudio3DiTModel(**geometry.transformer),
            "duration_embedder": StableAudio3DurationEmbedder(**geometry.duration_embedder),
            "autoencoder": AutoencoderSAME(**geometry.autoencoder),
        }
    ours = [f"{part}.{key}" for part, module in parts.items() for key in module.state_dict()]
    ours.remove("duration_embedder.freqs")  # follows from the configuration
    theirs = [stability_key(key) for key in ours]
    published = checkpoint_shapes(GEOMETRIES[name])
    follows = {key for key in published if key.endswith(("rope.inv_freq", "noise_scaling_factor"))}
    assert len(set(theirs)) == len(theirs)
    assert set(theirs) == set(published) - follows
    for part in ("transformer", "duration_embedder"):
        for key, module in parts[part].named_modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Conv1d):
                assert module_of(stability_module(f"{part}.{key}")) == f"{part}.{key}"


@pytest.mark.parametrize(("ours", "theirs"), PAIRS.items())
def test_modules_are_called(ours: str, theirs: str) -> None:
    assert stability_module(ours) == theirs
    assert module_of(theirs) == ours


@pytest.mark.parametrize(
    "name", ["proj_in", "transformer.memory_tokens", "text_encoder.layers.0", "autoencoder.encoder.proj", ""]
)
def test_other_modules_have_no_name(name: str) -> None:
    with pytest.raises(KeyError):
        stability_module(name)
    with pytest.raises(KeyError):
        module_of(name)


def test_rows_of_differential_attention() -> None:
    theirs = torch.arange(5)  # q1 k1 v q2 k2
    ours = rows_from_stability("transformer.transformer_blocks.0.self_attn.to_qkv", theirs, differential=True)
    assert ours.tolist() == [0, 3, 1, 4, 2], "q1 q2 k1 k2 v"


@given(st.integers(1, 6), st.integers(1, 4), st.booleans())
def test_row_order_is_undone(rows: int, columns: int, differential: bool) -> None:
    tensor = torch.randn(5 * rows, columns)
    for module in (
        "transformer.transformer_blocks.0.self_attn.to_qkv",
        "transformer.transformer_blocks.0.cross_attn.to_kv",
    ):
        there = rows_from_stability(module, tensor, differential)
        assert torch.equal(rows_to_stability(module, there, differential), tensor)
        if not (differential and module.endswith("to_qkv")):
            assert there is tensor


def test_rows_that_five_projections_cannot_share_are_an_error() -> None:
    with pytest.raises(ValueError, match="7 rows"):
        rows_from_stability("x.to_qkv.weight", torch.zeros(7, 1), differential=True)
