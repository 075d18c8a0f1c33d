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

    `x`: (batch, channels, up to frames · in_step); returns (batch, channels', frames · out_step).
    """
    starts = chunk_starts(frames)
    edge = OVERLAP_LATENTS // 2
    pieces = []
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        first = 0 if start == 0 else edge  # where two chunks overlap the later one counts, but for its edge
        last = (frames if following is None else following + edge) - start  # SAME-S gives even numbers back
        done = convert(x[..., start * in_step : (start + CHUNK_LATENTS) * in_step])
        pieces.append(done[..., first * out_step : last * out_step])
    return torch.cat(pieces, dim=-1)
