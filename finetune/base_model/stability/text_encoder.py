"""T5Gemma's encoder, which tells the transformer what a prompt means, from the folder beside the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from finetune.base_model.stability.checkpoint import Checkpoint
from finetune.errors import WoodshedError

_UNUSED = ("decoder.", "lm_head.")  # the folder may hold the whole of T5Gemma


def read_text_encoder(folder: Path, dtype: torch.dtype, width: int) -> tuple[Any, Any]:
    """Encoder, in `dtype` on the CPU, and tokenizer.

    WoodshedError when weights are missing, left over, not finite, or of another width than the base was trained with.
    """
    from transformers import AutoConfig, AutoTokenizer, T5GemmaEncoderModel

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    config.is_encoder_decoder = False
    state = _read(folder, dtype)
    encoder, report = T5GemmaEncoderModel.from_pretrained(
        None, config=config, state_dict=state, dtype=dtype, output_loading_info=True
    )
    missing = report["missing_keys"]
    if missing:
        raise WoodshedError(
            f"'{folder}' lacks {len(missing)} weights of the text encoder, for instance '{min(missing)}'. Fetch it "
            "again."
        )
    if report["unexpected_keys"] or encoder.config.encoder.hidden_size != width:
        raise WoodshedError(
            f"'{folder}' holds another text encoder than the T5Gemma that this base was trained with."
        )
    return encoder, AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _read(folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The encoder's tensors, one at a time into their final type."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise WoodshedError(
            f"'{folder}' has no safetensors file, and Woodshed reads no other weights. Fetch it again."
        )
    state = {}
    for file in map(Checkpoint, files):
        for name in file:
            key = name.removeprefix("model.")
            if key.startswith(_UNUSED):
                continue
            state[key] = file.copy(name, dtype, check=True)
    return state
