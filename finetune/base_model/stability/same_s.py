"""SAME-S, the autoencoder of the small models, which diffusers' SAME lacks.

Where SAME-L slides a window of attention along the sequence, SAME-S attends within chunks of a few latents, and the
second half of its layers within chunks shifted by half of one, the ends repeated. Audio and latents are completed
with zeros to whole chunks. Convolutions between patches and layers may be three patches wide.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from finetune.base_model.stability.same_geometry import Chunks


class ChunkedResampling(nn.Module):
    """One resampling stack with the layers, names and weights of diffusers' `block`, attending in chunks."""

    def __init__(self, block: Any, chunks: Chunks) -> None:
        super().__init__()
        encodes = block.mode == "encoder"
        taps = chunks.encoder_taps if encodes else chunks.decoder_taps
        same_width = isinstance(block.mapping, nn.Identity)
        self.mapping = (
            block.mapping
            if taps == 1 or same_width
            else _mapping(block.in_channels, block.out_channels, taps)
        )
        self.transformers = block.transformers
        self.new_tokens = block.new_tokens
        self.stride = block.stride
        self.encodes = encodes
        self.chunk_latents = chunks.chunk_size // block.stride
        self.midpoint_shift = chunks.midpoint_shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encoder: (batch, patched channels, latents · stride) → (batch, width, latents); decoder: the reverse.

        What completes the last chunk is given back too, as Stability's does.
        """
        return self._encode(x) if self.encodes else self._decode(x)

    def _encode(self, patches: torch.Tensor) -> torch.Tensor:
        whole = _completed(patches, self.chunk_latents * self.stride)
        groups = self.mapping(whole).transpose(1, 2).unflatten(1, (-1, self.stride))
        ends = self.new_tokens[:, None].expand(*groups.shape[:2], 1, -1)
        tokens = self._attend(torch.cat([groups, ends], dim=2))
        return tokens[:, :, -1].transpose(1, 2)

    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        starts = _completed(latents, self.chunk_latents).transpose(1, 2).unsqueeze(2)
        places = self.new_tokens[:, None].expand(*starts.shape[:2], self.stride, -1)
        tokens = self._attend(torch.cat([starts, places], dim=2))
        patches = tokens[:, :, 1:].flatten(1, 2).transpose(1, 2)
        return self.mapping(patches)

    def _attend(self, tokens: torch.Tensor) -> torch.Tensor:
        """All layers over (batch, latents, stride + 1, width)."""
        half = len(self.transformers) // 2 if self.midpoint_shift else len(self.transformers)
        tokens = self._in_chunks(tokens, self.transformers[:half])
        if not self.midpoint_shift:
            return tokens
        shift = self.chunk_latents // 2
        shifted = torch.cat([tokens[:, :shift], tokens, tokens[:, -shift:]], dim=1)
        return self._in_chunks(shifted, self.transformers[half:])[:, shift:-shift]

    def _in_chunks(self, tokens: torch.Tensor, layers: Any) -> torch.Tensor:
        batch, latents, group, width = tokens.shape
        x = tokens.reshape(batch * latents // self.chunk_latents, self.chunk_latents * group, width)
        for layer in layers:
            x = layer(x)
        return x.reshape(batch, latents, group, width)


def attend_in_chunks(autoencoder: Any, chunks: Chunks) -> None:
    """Make diffusers' AutoencoderSAME a SAME-S; weights are loaded under the same names as before."""
    for side in (autoencoder.encoder, autoencoder.decoder):
        side.blocks = nn.ModuleList([ChunkedResampling(block, chunks) for block in side.blocks])


def _mapping(inputs: int, outputs: int, taps: int) -> nn.Module:
    return nn.utils.weight_norm(nn.Conv1d(inputs, outputs, taps, padding="same", device="meta"))


def _completed(x: torch.Tensor, multiple: int) -> torch.Tensor:
    return nn.functional.pad(x, (0, -x.shape[-1] % multiple))
