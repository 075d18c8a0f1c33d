"""No product twice: what is the same at many places of the transformer's input is computed at one of them.

Prompts are padded to a fixed number of tokens with one learned embedding, all of which become keys and values; while
training, its row is projected once and then repeated. The local condition (which part of the audio is given) is most
often zero everywhere, and then one frame of it stands for all. The results are the same but for rounding, so that
only steps with gradients do it: what is generated and validated is the same to the last bit.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from finetune.base_model.model import BaseModel


def compute_padding_once(base: BaseModel) -> None:
    """Have `base` do so from now on; to be called when adapters are in place."""
    base.repeats_padding = True
    for block in base.transformer.transformer_blocks:
        block.cross_attn.to_kv.register_forward_hook(partial(_repeat_padding, tokens=base.prompt_tokens + 1))


def _repeat_padding(_: Any, __: Any, rows: torch.Tensor, tokens: int) -> torch.Tensor:
    """(batch, n + 2, width), the last but one being padding and the last the duration → (batch, tokens, width)."""
    if rows.shape[1] == tokens:
        return rows
    repeats = tokens - (rows.shape[1] - 1)
    padding = rows[:, -2:-1].expand(-1, repeats, -1)
    return torch.cat([rows[:, :-2], padding, rows[:, -1:]], dim=1)
