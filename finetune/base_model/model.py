"""The frozen Stable Audio 3, as the rest of Woodshed sees it: sound and words in, velocity and sound out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from finetune.base_model.chunks import in_chunks
from finetune.base_model.sharding import Shards
from finetune.base_model.stability.shift import SAMPLING_SHIFT, TRAINING_SHIFT, TimeShift
from finetune.errors import WoodshedError


@dataclass(frozen=True)
class PromptEmbedding:
    """What the text encoder says of one prompt: (tokens, width) float32, real tokens only, no padding."""

    tokens: torch.Tensor


@dataclass
class Conditions:
    """What the transformer is told besides the noisy latents, for one batch.

    `prompts`: one per clip. `seconds`: (batch,) float32. `dropped`: (batch,) bool, True where the clip is
    unconditional. `kept_mask`: (batch, 1, frames), 1 where the audio is given (inpainting), and `kept_latents`:
    (batch, channels, frames), the given latents times that mask; None for both means everything is generated.
    """

    prompts: list[PromptEmbedding]
    seconds: torch.Tensor
    dropped: torch.Tensor | None = None
    kept_mask: torch.Tensor | None = None
    kept_latents: torch.Tensor | None = None


@dataclass
class BaseModel:
    """Text encoder, duration embedder, autoencoder and DiT of one base, with diffusers' faults mended.

    `fingerprint` is the SHA-256 of the weights. `post_trained` bases generate in few steps and are not trained on.
    `name` is what the recipe called it. `sampling_shift` and `training_shift` say how times are moved, `licence` is the
    licence file beside the weights, `repeats_padding` is `compute_padding_once`, `rounded` that weights are in bfloat16
    and all else in float32, `shards` that its blocks are cut over several processes. After `release_encoders`
    autoencoder, text encoder and tokenizer are None and only the parts that a training step needs remain.
    """

    name: str
    fingerprint: str
    post_trained: bool
    transformer: Any
    duration_embedder: Any
    autoencoder: Any
    text_encoder: Any
    tokenizer: Any
    sample_rate: int
    samples_per_latent: int
    latent_channels: int
    prompt_tokens: int
    sampling_shift: TimeShift = SAMPLING_SHIFT
    training_shift: TimeShift = TRAINING_SHIFT
    licence: Path | None = None
    repeats_padding: bool = False
    rounded: bool = False
    shards: Shards | None = None

    @property
    def device(self) -> torch.device:
        return self.transformer.prompt_padding_embedding.device

    @property
    def dtype(self) -> torch.dtype:
        """The type that the transformer computes in; its weights may lie in a smaller one."""
        return self.transformer.prompt_padding_embedding.dtype

    @property
    def trainable_parts(self) -> nn.ModuleDict:
        """The modules an adapter may be attached to, under the names that adapter files use."""
        return nn.ModuleDict({"transformer": self.transformer, "duration_embedder": self.duration_embedder})

    def frames(self, samples: int) -> int:
        """Latent frames that hold `samples` samples."""
        return math.ceil(samples / self.samples_per_latent)

    def seconds_to_frames(self, seconds: float) -> int:
        return self.frames(round(seconds * self.sample_rate))

    def release_encoders(self) -> None:
        """Drop autoencoder, text encoder and tokenizer: everything that is needed of them is cached."""
        self.autoencoder = self.text_encoder = self.tokenizer = None

    def place_encoders(self, device: torch.device) -> None:
        self.autoencoder.to(device)
        self.text_encoder.to(device)

    def place_rest(self, device: torch.device) -> None:
        """Move what a training step needs."""
        self.transformer.to(device)
        self.duration_embedder.to(device)

    @torch.no_grad()
    def encode_audio(self, audio: torch.Tensor) -> torch.Tensor:
        """(batch, 2, samples) at the base's rate, -1..1 → (batch, channels, frames) float32 latents.

        The last frame is completed with silence. Stability's own encoder adds a little noise even at
        inference; here it is off.
        """
        if self.autoencoder is None:
            raise WoodshedError(
                "The autoencoder of this base was released; load the base again to encode audio."
            )
        place = _place(self.autoencoder)

        def encoded(chunk: torch.Tensor) -> torch.Tensor:
            missing = -chunk.shape[-1] % self.samples_per_latent
            whole = nn.functional.pad(chunk.to(place, torch.float32), (0, missing))
            return self.autoencoder.encode(whole).latents

        return in_chunks(encoded, audio, self.frames(audio.shape[-1]), self.samples_per_latent, 1)

    @torch.no_grad()
    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """(batch, channels, frames) → (batch, 2, frames · samples_per_latent) float32 audio, clamped to -1..1."""
        if self.autoencoder is None:
            raise WoodshedError(
                "The autoencoder of this base was released; load the base again to decode latents."
            )
        latents = latents.to(_place(self.autoencoder), torch.float32)
        audio = in_chunks(
            lambda x: self.autoencoder.decode(x).sample,
            latents,
            latents.shape[-1],
            1,
            self.samples_per_latent,
        )
        return audio.clamp(-1, 1)

    @torch.no_grad()
    def encode_prompt(self, text: str) -> PromptEmbedding:
        """The prompt's real tokens, encoded alone, so that the result does not depend on its neighbours.

        It is padded to `prompt_tokens`, or cut there, as the base was trained: the bits are Stability's.
        """
        if self.text_encoder is None or self.tokenizer is None:
            raise WoodshedError(
                "The text encoder of this base was released; load the base again to encode prompts."
            )
        encoded = self.tokenizer(
            text, truncation=True, max_length=self.prompt_tokens, padding="max_length", return_tensors="pt"
        )
        place = _place(self.text_encoder)
        ids, mask = encoded.input_ids.to(place), encoded.attention_mask.to(place)
        if not mask.any():
            return PromptEmbedding(torch.zeros(0, self.transformer.config.cond_token_dim, device=place))
        states = self.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return PromptEmbedding(states[mask.bool()].float())

    def velocity(self, noisy: torch.Tensor, t: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """The predicted ε - x: `noisy` (batch, channels, frames) at times `t` (batch,), 0 clean, 1 noise.

        `t` stays float32 into the model. Gradients flow through the transformer and the duration embedder.
        """
        # Each length once, as Stability embeds it before guidance doubles the batch: more rows round otherwise.
        lengths, clip = conditions.seconds.to(self.device).unique(return_inverse=True)
        duration = self.duration_embedder(lengths)[clip]
        dtype = noisy.dtype
        output = self.transformer(
            hidden_states=noisy,
            timestep=t.float(),
            encoder_hidden_states=self._context(conditions, duration).to(dtype),
            global_hidden_states=duration.to(dtype),
            local_add_cond=self._local_condition(noisy, conditions),
            return_dict=False,
        )
        return output[0]

    @property
    def text_precision(self) -> str:
        """What embeddings of prompts depend on besides the base's weights."""
        kind = self.text_encoder.dtype if self.text_encoder is not None else None
        return f"{kind} packed" if self.rounded else f"{kind}"

    @property
    def _is_training(self) -> bool:
        return self.repeats_padding and torch.is_grad_enabled()

    def _context(self, conditions: Conditions, duration: torch.Tensor) -> torch.Tensor:
        """(batch, prompt_tokens + 1, width): prompt, learned padding, duration; all zero where dropped.

        Stability zeroes the whole cross-attention input of the unconditional branch, the duration token too. In
        training only as much padding as the longest prompt needs, and one row.
        """
        padding = self.transformer.prompt_padding_embedding.to(duration.dtype)
        longest = max(len(prompt.tokens) for prompt in conditions.prompts)
        length = longest + 1 if self._is_training else self.prompt_tokens
        rows = [
            torch.cat([p.tokens.to(padding), padding.expand(length - len(p.tokens), -1)])
            for p in conditions.prompts
        ]
        context = torch.cat([torch.stack(rows), duration.unsqueeze(1)], dim=1)
        if conditions.dropped is None:
            return context
        return torch.where(conditions.dropped.to(self.device)[:, None, None], 0.0, context)

    def _local_condition(self, noisy: torch.Tensor, conditions: Conditions) -> torch.Tensor:
        """(batch, 1 + channels, frames): mask and masked latents; zeros, never nothing, since it has biases.

        In training zeros are those of one frame, which is added to all.
        """
        mask, kept = conditions.kept_mask, conditions.kept_latents
        batch, channels, frames = noisy.shape
        if self._is_training and (mask is None or not mask.any()):
            return noisy.new_zeros(batch, 1 + channels, 1)
        if mask is None or kept is None:
            return noisy.new_zeros(batch, 1 + channels, frames)
        return torch.cat([mask, kept], dim=1).to(noisy)


def _place(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
