"""SAME in chunks: the same as whole, at a cost that does not grow with the length.

Equality with Stability's own code is in test_stability_parity.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from finetune.base_model import BaseModel, load_base
from finetune.base_model.chunks import CHUNK_LATENTS
from finetune.base_model.stability.same_l import WindowProcessor
from tests.tools.random_checkpoint import write_checkpoint
from tests.tools.stability_geometry import GEOMETRIES


@pytest.fixture(scope="module", params=["tiny", "tiny-medium"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("base") / request.param
    write_checkpoint(folder, GEOMETRIES[request.param])
    return load_base(str(folder))


def audio_of(base: BaseModel, frames: int) -> torch.Tensor:
    return 0.1 * torch.randn(
        1, 2, frames * base.samples_per_latent, generator=torch.Generator().manual_seed(frames)
    )


@pytest.mark.parametrize("frames", [CHUNK_LATENTS + 2])
def test_chunks_are_the_whole(base: BaseModel, frames: int) -> None:
    audio = audio_of(base, frames)
    with torch.no_grad():
        whole = base.autoencoder.encode(audio).latents
        sound = base.autoencoder.decode(whole).sample.clamp(-1, 1)
    torch.testing.assert_close(base.encode_audio(audio), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(base.decode_latents(whole), sound, rtol=0, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 3])
def test_odd_lengths_come_back_as_long_as_they_went(base: BaseModel, frames: int) -> None:
    latents = base.encode_audio(audio_of(base, frames))
    assert latents.shape == (1, base.latent_channels, frames)
    assert base.decode_latents(latents).shape == (1, 2, frames * base.samples_per_latent)


def test_the_end_of_an_odd_length_is_completed_with_silence(base: BaseModel) -> None:
    audio = audio_of(base, 3)
    silence = torch.zeros(1, 2, base.samples_per_latent)
    longer = base.encode_audio(torch.cat([audio, silence], dim=2))
    exact = {"rtol": 0, "atol": 1e-6}
    if base.autoencoder.config.decoder_sinusoidal_blocks == [0]:  # SAME-S
        torch.testing.assert_close(base.encode_audio(audio), longer[..., :3], **exact)


def test_nothing_longer_than_a_chunk_is_ever_computed(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    longest: list[int] = []
    for side in (base.autoencoder.encoder, base.autoencoder.decoder):
        forward = side.forward
        monkeypatch.setattr(
            side, "forward", lambda x, forward=forward: (longest.append(x.shape[-1]), forward(x))[1]
        )
    for frames in (130, 230):
        base.decode_latents(base.encode_audio(audio_of(base, frames)))
    stride = base.autoencoder.config.encoder_strides[0]
    assert set(longest) == {CHUNK_LATENTS, CHUNK_LATENTS * stride}


def test_windows_are_diffusers_masked_attention() -> None:
    from diffusers.models.autoencoders.autoencoder_same import SAMEAttention, _band_mask

    torch.manual_seed(0)
    window, tokens = 17, 2100  # more than two groups of queries
    for differential in (False, True):
        attention: Any = SAMEAttention(32, dim_heads=16, use_differential=differential)
        torch.nn.init.normal_(attention.to_out.weight)
        x = torch.randn(1, tokens, 32)
        with torch.no_grad():
            masked = attention(x, attn_mask=_band_mask(tokens, window, x.device, x.dtype))
            attention.processor = WindowProcessor(window)
            torch.testing.assert_close(attention(x), masked, rtol=1e-4, atol=1e-5)
