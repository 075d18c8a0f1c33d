"""Weights from Stability's single file into diffusers' modules, one tensor at a time, every key accounted for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from finetune.base_model.rotary import rotary_frequencies
from finetune.base_model.stability.checkpoint import Checkpoint
from finetune.base_model.stability.geometry import Geometry
from finetune.base_model.stability.keys import rows_from_stability, stability_key
from finetune.base_model.stability.same_l import attend_in_windows
from finetune.base_model.stability.same_s import attend_in_chunks
from finetune.errors import WoodshedError


@dataclass
class Weights:
    """Where the tensors of one load come from.

    `source` is Stability's file. `converted` holds, under our names, the tensors that an earlier load had to convert,
    after it had checked all; `made` are those that this load converts. `left` are the keys nobody has asked for yet.
    """

    source: Checkpoint
    converted: Checkpoint | None = None
    made: dict[str, torch.Tensor] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.left = set(self.source)

    def take(
        self, key: str, shape: torch.Size, dtype: torch.dtype, device: torch.device, differential: bool
    ) -> torch.Tensor:
        """The tensor of `key` (`transformer.…`, `duration_embedder.…`, `autoencoder.…`) as the module wants it."""
        theirs = stability_key(key)
        self._check_stored(theirs, shape)
        self.left.discard(theirs)
        file, name = self.source, theirs
        if self.converted is not None and key in self.converted:
            file, name = self.converted, key
        copied = file.copy(name, dtype, check=self.converted is None)
        if file is self.converted:
            return copied.to(device)
        ready = rows_from_stability(key, copied, differential)
        changed = ready is not copied or dtype != file.dtype(name)
        ready = ready.to(device)
        if changed and self.converted is None:
            self.made[key] = ready
        return ready

    def _check_stored(self, theirs: str, shape: torch.Size) -> None:
        if theirs not in self.source:
            raise WoodshedError(
                f"'{self.source.path}' lacks the weight '{theirs}', which its model_config.json asks for."
            )
        if self.source.shape(theirs) != tuple(shape):
            raise WoodshedError(
                f"'{self.source.path}' has '{theirs}' in the shape {self.source.shape(theirs)}; by its "
                f"model_config.json it is {tuple(shape)}. The two files do not belong together."
            )

    def close(self) -> None:
        """Raise WoodshedError when the file holds anything that no module took; buffers that follow from the geometry,
        and the empty tensor of a noise that is off, aside."""
        for key in sorted(self.left):
            if key.endswith(".inv_freq"):
                self._check_rotary(key)
            elif key.endswith("bottleneck.noise_scaling_factor") and 0 in self.source.shape(key):
                self.left.discard(key)
        if self.left:
            raise WoodshedError(
                f"'{self.source.path}' holds {len(self.left)} weights that its model_config.json says nothing of, for "
                f"instance '{min(self.left)}': it is no Stable Audio 3 that Woodshed knows."
            )

    def _check_rotary(self, key: str) -> None:
        stored = self.source.tensor(key).float()
        if not torch.allclose(
            stored, rotary_frequencies(2 * len(stored)), rtol=1e-2
        ):  # bfloat16 keeps 8 bits
            raise WoodshedError(f"'{self.source.path}' turns positions by other frequencies in '{key}'.")
        self.left.discard(key)


def read_transformer(weights: Weights, geometry: Geometry, dtype: torch.dtype, device: torch.device) -> Any:
    from diffusers import StableAudio3DiTModel

    with torch.device("meta"):
        transformer: Any = StableAudio3DiTModel(**geometry.transformer)
    differential = geometry.transformer["use_differential_attention"]
    rotary = rotary_frequencies(geometry.rotary_channels).to(device)
    transformer.rotary_pos_emb.inv_freq = rotary  # diffusers turns half of a head, however small it is
    _fill(
        transformer, "transformer", weights, dtype, device, differential, {"rotary_pos_emb.inv_freq": rotary}
    )
    for block in transformer.transformer_blocks:
        for norm in (block.pre_norm, block.cross_attend_norm, block.ff_norm):
            norm.eps = geometry.norm_epsilon
        for attention in (block.self_attn, block.cross_attn):
            attention.q_norm.eps = attention.k_norm.eps = geometry.query_key_epsilon
    return transformer


def read_duration_embedder(weights: Weights, geometry: Geometry, device: torch.device) -> Any:
    from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder

    embedder: Any = StableAudio3DurationEmbedder(**geometry.duration_embedder)
    computed = {"freqs": embedder.freqs.to(device)}
    _fill(embedder, "duration_embedder", weights, torch.float32, device, False, computed)
    return embedder


def read_autoencoder(weights: Weights, geometry: Geometry, device: torch.device) -> Any:
    from diffusers import AutoencoderSAME

    with torch.device("meta"):
        autoencoder: Any = AutoencoderSAME(**geometry.autoencoder)
    if geometry.chunks is None:
        attend_in_windows(autoencoder)
    else:
        attend_in_chunks(autoencoder, geometry.chunks)
    differential = geometry.autoencoder["use_differential_attention"]
    computed = {} if geometry.auto_scale else {"bottleneck.running_std": torch.ones(1, device=device)}
    _fill(autoencoder, "autoencoder", weights, torch.float32, device, differential, computed)
    for side in (autoencoder.encoder, autoencoder.decoder):
        for layer in side.blocks[0].transformers:
            rope = layer.attn.rope
            rope.inv_freq = rotary_frequencies(2 * len(rope.inv_freq)).to(device)
    return autoencoder


def _fill(
    module: nn.Module,
    part: str,
    weights: Weights,
    dtype: torch.dtype,
    device: torch.device,
    differential: bool,
    computed: dict[str, torch.Tensor],
) -> None:
    """Give `module` its tensors; `computed` are buffers that follow from the geometry."""
    state = {
        name: computed[name]
        if name in computed
        else weights.take(f"{part}.{name}", wanted.shape, dtype, device, differential)
        for name, wanted in module.state_dict().items()
    }
    module.load_state_dict(state, assign=True)
