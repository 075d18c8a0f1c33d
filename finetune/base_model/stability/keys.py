"""Names and row order of weights: as in Stability's single file, and as in diffusers' modules.

A module of a base is named as in `BaseModel.trainable_parts`; the autoencoder's tensors have the prefix
`autoencoder.`. Differential attention (medium and SAME) fuses its self-attention as [q|k|v|q2|k2] in Stability's
file and as [q1|q2|k1|k2|v] in diffusers; plain attention is [q|k|v] in both.
"""

from __future__ import annotations

import re

import torch

DIT = "model.model."
AUTOENCODER = "pretransform.model."
DURATION_LINEAR = "conditioner.conditioners.seconds_total.embedder.embedding.1"
PROMPT_PADDING = "conditioner.conditioners.prompt.padding_embedding"

_BLOCK_MODULES = {
    "self_attn.to_qkv": "self_attn.to_qkv",
    "self_attn.to_out": "self_attn.to_out",
    "cross_attn.to_q": "cross_attn.to_q",
    "cross_attn.to_kv": "cross_attn.to_kv",
    "cross_attn.to_out": "cross_attn.to_out",
    "ff.proj_in": "ff.ff.0.proj",
    "ff.proj_out": "ff.ff.2",
    "to_local_embed.0": "to_local_embed.0",
    "to_local_embed.2": "to_local_embed.2",
}
_OUTER_MODULES = {
    "proj_in": "transformer.project_in",
    "proj_out": "transformer.project_out",
    "global_cond_embedder.0": "transformer.global_cond_embedder.0",
    "global_cond_embedder.2": "transformer.global_cond_embedder.2",
    "to_timestep_embed.0": "to_timestep_embed.0",
    "to_timestep_embed.2": "to_timestep_embed.2",
    "to_cond_embed.0": "to_cond_embed.0",
    "to_cond_embed.2": "to_cond_embed.2",
    "to_global_embed.0": "to_global_embed.0",
    "to_global_embed.2": "to_global_embed.2",
    "preprocess_conv": "preprocess_conv",
    "postprocess_conv": "postprocess_conv",
}
_BLOCK_MODULES_BACK = {theirs: ours for ours, theirs in _BLOCK_MODULES.items()}
_OUTER_MODULES_BACK = {theirs: ours for ours, theirs in _OUTER_MODULES.items()}

_OUR_BLOCK = re.compile(r"transformer\.transformer_blocks\.(\d+)\.(.+)")
_THEIR_BLOCK = re.compile(r"model\.model\.transformer\.layers\.(\d+)\.(.+)")

# Tensors of the DiT that belong to no Linear or Conv1d.
_BLOCK_TENSORS = {
    "pre_norm.gamma",
    "cross_attend_norm.gamma",
    "ff_norm.gamma",
    "to_scale_shift_gate",
    *(
        f"{attention}.{norm}.gamma"
        for attention in ("self_attn", "cross_attn")
        for norm in ("q_norm", "k_norm")
    ),
}
_OUTER_TENSORS = {
    "transformer.memory_tokens": DIT + "transformer.memory_tokens",
    "transformer.rotary_pos_emb.inv_freq": DIT + "transformer.rotary_pos_emb.inv_freq",
    "transformer.prompt_padding_embedding": PROMPT_PADDING,
}

_SAME_BLOCK = re.compile(r"autoencoder\.(encoder|decoder)\.blocks\.(\d+)\.(.+)")
_SAME_LAYER = re.compile(r"transformers\.(\d+)\.(.+)")
_SAME_LAYER_PARTS = (
    ("norm_attn.", "pre_norm."),
    ("attn.", "self_attn."),
    ("norm_ff.", "ff_norm."),
    ("ff.proj_in.", "ff.ff.0.proj."),
    ("ff.proj_out.", "ff.ff.2."),
)
_BOTTLENECK = {"scale": "scaling_factor", "bias": "bias", "running_std": "running_std"}


def stability_module(module: str) -> str:
    """Stability's name of a Linear or Conv1d of the DiT or the duration embedder; KeyError for anything else.

    `transformer.transformer_blocks.3.self_attn.to_qkv` is `model.model.transformer.layers.3.self_attn.to_qkv`.
    """
    if module == "duration_embedder.linear":
        return DURATION_LINEAR
    if block := _OUR_BLOCK.fullmatch(module):
        return f"{DIT}transformer.layers.{block[1]}.{_BLOCK_MODULES[block[2]]}"
    part, _, rest = module.partition(".")
    if part != "transformer":
        raise KeyError(module)
    return DIT + _OUTER_MODULES[rest]


def module_of(stability_module: str) -> str:
    """The inverse of `stability_module`; KeyError for what is no module of the DiT or the duration embedder."""
    if stability_module == DURATION_LINEAR:
        return "duration_embedder.linear"
    if block := _THEIR_BLOCK.fullmatch(stability_module):
        return f"transformer.transformer_blocks.{block[1]}.{_BLOCK_MODULES_BACK[block[2]]}"
    if not stability_module.startswith(DIT):
        raise KeyError(stability_module)
    return "transformer." + _OUTER_MODULES_BACK[stability_module.removeprefix(DIT)]


def stability_key(key: str, levels: int = 1) -> str:
    """The checkpoint key of one tensor of `transformer.`, `duration_embedder.` or `autoencoder.`; KeyError else.

    `levels` is how many resampling blocks the autoencoder's encoder has (it decides a number in a key).
    """
    if key in _OUTER_TENSORS:
        return _OUTER_TENSORS[key]
    if key.startswith("autoencoder."):
        return AUTOENCODER + _autoencoder_key(key, levels)
    block = _OUR_BLOCK.fullmatch(key)
    if block and block[2] in _BLOCK_TENSORS:
        return f"{DIT}transformer.layers.{block[1]}.{block[2]}"
    module, _, name = key.rpartition(".")
    if name not in ("weight", "bias"):
        raise KeyError(key)
    return f"{stability_module(module)}.{name}"


def _autoencoder_key(key: str, levels: int) -> str:
    rest = key.removeprefix("autoencoder.")
    if rest.startswith("bottleneck."):
        return "bottleneck." + _BOTTLENECK[rest.removeprefix("bottleneck.")]
    if rest in ("encoder.proj.weight", "encoder.proj.bias"):  # after the blocks and a transposition
        return f"encoder.layers.{levels + 1}.{rest.rpartition('.')[2]}"
    if rest in ("decoder.proj.weight", "decoder.proj.bias"):  # between two transpositions, before the blocks
        return f"decoder.layers.1.{rest.rpartition('.')[2]}"
    block = _SAME_BLOCK.fullmatch(key)
    if block is None:
        raise KeyError(key)
    number = int(block[2]) + (0 if block[1] == "encoder" else 3)
    prefix = f"{block[1]}.layers.{number}."
    layer = _SAME_LAYER.fullmatch(block[3])
    if layer is None:
        return prefix + block[3]  # mapping and new_tokens are called the same
    for ours, theirs in _SAME_LAYER_PARTS:
        if layer[2].startswith(ours):
            return f"{prefix}transformers.{layer[1]}.{theirs}{layer[2].removeprefix(ours)}"
    raise KeyError(key)


def rows_from_stability(module: str, tensor: torch.Tensor, differential: bool) -> torch.Tensor:
    """`tensor` with dim 0 in diffusers' row order; unchanged unless `module` is a differential fused self-attention.

    `module` is a module's name or a tensor's key; dim 0 counts the outputs of that module.
    """
    if not _is_reordered(module, differential):
        return tensor
    q1, k1, v, q2, k2 = _fifths(module, tensor)
    return torch.cat([q1, q2, k1, k2, v])


def rows_to_stability(module: str, tensor: torch.Tensor, differential: bool) -> torch.Tensor:
    """The inverse of `rows_from_stability`."""
    if not _is_reordered(module, differential):
        return tensor
    q1, q2, k1, k2, v = _fifths(module, tensor)
    return torch.cat([q1, k1, v, q2, k2])


def _is_reordered(module: str, differential: bool) -> bool:
    return differential and module.removesuffix(".weight").endswith(".to_qkv")


def _fifths(module: str, tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if tensor.shape[0] % 5:
        raise ValueError(f"{module} has {tensor.shape[0]} rows, which five projections cannot share.")
    return tensor.chunk(5)
