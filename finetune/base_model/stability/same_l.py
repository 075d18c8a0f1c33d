"""The sliding attention of SAME-L without a mask of the whole sequence's square: queries in groups, as Stability does.

Diffusers hands every pair of tokens a place in its mask. Here 1024 queries at a time look at themselves and at the
window around them, which is the same sum in the same order as in Stability's code, so the results are the same to the
last bit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_same import _apply_rotary_partial
from torch.nn.functional import scaled_dot_product_attention

GROUP = 1024  # queries at a time


class WindowProcessor:
    """Attention within `window` tokens to each side, for diffusers' SAMEAttention; its mask is not looked at."""

    def __init__(self, window: int) -> None:
        self.window = window

    def __call__(
        self, attn: Any, hidden_states: torch.Tensor, attn_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(batch, tokens, width) → the same."""
        turns = attn.rope(hidden_states.shape[1], hidden_states.device)
        projected = attn.to_qkv(hidden_states).unflatten(-1, (-1, attn.heads, attn.dim_heads)).unbind(2)
        *looks, values = projected
        half = len(looks) // 2
        queries = [_apply_rotary_partial(attn.q_norm(q), turns) for q in looks[:half]]
        keys = [_apply_rotary_partial(attn.k_norm(k), turns) for k in looks[half:]]
        seen = [self._look(q, k, values) for q, k in zip(queries, keys, strict=True)]
        out = seen[0] - seen[1] if half == 2 else seen[0]
        return attn.to_out(out.transpose(1, 2).flatten(2))

    def _look(self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, heads, channels) each → (batch, heads, tokens, channels)."""
        queries, keys, values = (x.transpose(1, 2) for x in (queries, keys, values))
        tokens = queries.shape[2]
        pieces = []
        for start in range(0, tokens, GROUP):
            stop = min(start + GROUP, tokens)
            first, last = max(0, start - self.window), min(tokens, stop + self.window)
            mask = _band(
                stop - start, start - first, last - first, self.window, queries.device, queries.dtype
            )
            pieces.append(
                scaled_dot_product_attention(
                    queries[:, :, start:stop],
                    keys[:, :, first:last],
                    values[:, :, first:last],
                    attn_mask=mask,
                )
            )
        return torch.cat(pieces, dim=2)


@lru_cache(maxsize=4)
def _band(
    queries: int, before: int, keys: int, window: int, device: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """(queries, keys), 0 where a query sees a key and minus infinity elsewhere; `before` keys precede the queries."""
    away = torch.arange(keys, device=device) - torch.arange(before, before + queries, device=device)[:, None]
    return torch.zeros(away.shape, dtype=dtype, device=device).masked_fill(away.abs() > window, -torch.inf)


def attend_in_windows(autoencoder: Any) -> None:
    """Have every layer of diffusers' AutoencoderSAME attend in windows."""
    for side in (autoencoder.encoder, autoencoder.decoder):
        for block in side.blocks:
            for layer in block.transformers:
                layer.attn.processor = WindowProcessor(block.sliding_window * (block.stride + 1))
