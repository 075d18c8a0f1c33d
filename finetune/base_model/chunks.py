"""SAME in chunks: cost linear in length, the same result as whole.

Diffusers' SAME builds an N×N mask (17 tokens per latent), which for a minute of audio costs gigabytes. Its layers
see one latent to each side, so a chunk whose overlapping edges are trimmed by at least the stack's depth equals the
whole; chunk and overlap are Stability's own (128 and 32 latents).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

CHUNK_LATENTS = 128
OVERLAP_LATENTS = 32


def chunk_starts(frames: int) -> list[int]:
    """First latent of each chunk of `frames` latents; the last chunk is anchored to the end."""
    if frames <= CHUNK_LATENTS:
        return [0]
    starts = list(range(0, frames - CHUNK_LATENTS + 1, CHUNK_LATENTS - OVERLAP_LATENTS))
    last = frames - CHUNK_LATENTS
    return starts if starts[-1] == last else [*starts, last]


def in_chunks(
    convert: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, frames: int, in_step: int, out_step: int
) -> torch.Tensor:
    """`convert` over overlapping chunks of `x`, joined without the edges that face a neighbour.

    `x`: (batch, channels, frames · in_step); returns (batch, channels', frames · out_step).
    """
    starts = chunk_starts(frames)
    if len(starts) == 1:
        return convert(x)
    pieces, written = [], 0
    for number, start in enumerate(starts):
        stop = start + CHUNK_LATENTS
        keep_to = frames if number == len(starts) - 1 else stop - OVERLAP_LATENTS // 2
        done = convert(x[..., start * in_step : stop * in_step])
        pieces.append(done[..., (written - start) * out_step : (keep_to - start) * out_step])
        written = keep_to
    return torch.cat(pieces, dim=-1)
