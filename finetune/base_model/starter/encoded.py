"""The training clips as latents: rendered and encoded once, then drawn in batches of about one length."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderSAME
from safetensors.torch import load_file, save

from finetune.base_model.starter.geometry import SAMPLES_PER_LATENT
from finetune.base_model.starter.grooves import kit_clips
from finetune.base_model.starter.prompts import caption_fields
from finetune.files import write_file

SEED = 1
LEVEL = 0.9  # deviation of a loop's latents: an attack is several times louder, and noise must drown it too
NEIGHBOURS = 4  # a batch is drawn from this many times its size of clips of about one length
EXTRA_TOKENS = 48  # what a clip costs besides its latents: memory tokens, and the text it looks at
LONGER = 6.0  # frames of silence, in the mean, that follow the longest clip of a batch


@dataclass
class Encoded:
    """Clips sorted by length; `latents[i]`: (channels, frames) float16, `fields[i]`: what its captions may say.

    A clip is drawn the more often the longer it is, by the root of its length: there is more in it to learn.
    """

    latents: list[torch.Tensor]
    fields: list[dict[str, Any]]
    silence: torch.Tensor

    @cached_property
    def chances(self) -> np.ndarray:
        roots = np.sqrt([clip.shape[1] for clip in self.latents])
        return np.asarray(roots / roots.sum())

    def only(self, wanted: Callable[[dict[str, Any]], bool]) -> Encoded:
        """The clips whose fields are `wanted`."""
        pairs = [pair for pair in zip(self.latents, self.fields, strict=True) if wanted(pair[1])]
        return Encoded([latents for latents, _ in pairs], [fields for _, fields in pairs], self.silence)

    def draw(self, frames: int, rng: np.random.Generator) -> tuple[torch.Tensor, list[dict[str, Any]]]:
        """About `frames` latents of neighbours in length, the shorter continued with silence.

        (clips, channels, length) float32 and their fields: many short clips, or a few long ones.
        """
        first = int(rng.choice(len(self.latents), p=self.chances))
        count = max(2, round(frames / (self.latents[first].shape[1] + EXTRA_TOKENS)))
        start = min(first, len(self.latents) - NEIGHBOURS * count)
        chosen = sorted(start + rng.choice(NEIGHBOURS * count, count, replace=False))
        extra = int(rng.exponential(LONGER)) if rng.random() < 0.3 else 0
        rows = self.silence.repeat(count, 1, self.latents[chosen[-1]].shape[1] + extra)
        for row, index in zip(rows, chosen, strict=True):
            row[:, : self.latents[index].shape[1]] = self.latents[index]
        return rows, [self.fields[index] for index in chosen]


def encode_clips(work: Path, kits: int) -> Encoded:
    """Render and encode every clip once into WORK/latents.safetensors, on every core."""
    stored, facts = work / "latents.safetensors", work / "fields.json"
    if not facts.exists():
        with ProcessPoolExecutor(cpu_count(), get_context("spawn")) as pool:
            done = pool.map(_encode_kit, [str(work / "vae")] * kits, range(kits))
            pairs = sorted(chain.from_iterable(done), key=lambda pair: pair[0].shape[1])
        loops = [torch.from_numpy(clip).flatten() for clip, fields in pairs if fields["kind"] == "loop"]
        autoencoder: Any = AutoencoderSAME.from_pretrained(work / "vae")
        scale = autoencoder.bottleneck.running_std * torch.cat(loops).std() / LEVEL
        autoencoder.bottleneck.running_std.copy_(scale)
        autoencoder.save_pretrained(work / "vae")
        clips = {f"{i:06d}": torch.from_numpy(clip) / scale for i, (clip, _) in enumerate(pairs)}
        silence = autoencoder.encode(torch.zeros(1, 2, 64 * SAMPLES_PER_LATENT)).latents[0, :, 32:33]
        tensors = {name: clip.half() for name, clip in clips.items()} | {
            "silence": silence.half().contiguous()
        }
        write_file(stored, save(tensors))
        write_file(facts, json.dumps([fields for _, fields in pairs]).encode())
    latents = load_file(stored)
    silence = latents.pop("silence").float()
    return Encoded([latents[name] for name in sorted(latents)], json.loads(facts.read_text()), silence)


@torch.no_grad()
def _encode_kit(vae: str, number: int) -> list[tuple[np.ndarray, dict[str, Any]]]:
    torch.set_num_threads(1)
    autoencoder: Any = AutoencoderSAME.from_pretrained(vae).eval()
    return [
        (
            autoencoder.encode(torch.from_numpy(clip.audio)[None]).latents[0].numpy().copy(),
            caption_fields(clip),
        )
        for clip in kit_clips(SEED, number)
    ]
