"""Everything frozen is encoded once: latents and prompt embeddings in a cache addressed by content.

A file's name is the hash of what went into it (audio or text, the base's weights, this module's version), so that a
changed clip or base is encoded anew and nothing else is. Files are safetensors, written whole or not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from data_prep.dataset import Clip, DatasetError, read_audio
from finetune.base_model import BaseModel, PromptEmbedding
from finetune.errors import WoodshedError
from finetune.files import write_file
from finetune.progress import progress_bar

Encode = Callable[[], dict[str, torch.Tensor]]
PRIOR = "prior"  # the split of clips that the base itself played
VERSION = 1  # raise when the same audio or text would be encoded to other numbers


@dataclass(frozen=True)
class EncodedClip:
    """A clip and where its latents are: (channels, frames) float32; `turned` holds those of its sound upside down."""

    clip: Clip
    frames: int
    file: Path
    turned: Path | None = None

    @property
    def is_prior(self) -> bool:
        return self.clip.split == PRIOR

    def latents(self, turned: bool = False) -> torch.Tensor:
        return load_file(self.turned if turned and self.turned else self.file)["latents"]


@dataclass(frozen=True)
class EncodedDataset:
    """`clips` of both splits in the dataset's order; `prompts`: text → file; `silence`: (channels, frames); `prior`:
    what the base itself plays, to be trained with."""

    clips: list[EncodedClip]
    prompts: dict[str, Path]
    silence: torch.Tensor
    prior: list[EncodedClip] = field(default_factory=list)

    def split(self, name: str) -> list[EncodedClip]:
        return [clip for clip in self.clips if clip.clip.split == name]

    def prompt(self, text: str) -> PromptEmbedding:
        return PromptEmbedding(load_file(self.prompts[text])["tokens"])


def encode_dataset(
    base: BaseModel,
    clips: Sequence[Clip],
    prompts: Sequence[str],
    silence_frames: int,
    cache: Path,
    turn: bool = False,
) -> EncodedDataset:
    """Encode what `cache` does not hold yet: `clips`, their captions, the other `prompts` and silence; if `turn` the
    training clips once more, upside down.

    Raises WoodshedError when a clip's file cannot be read.
    """
    texts = list(dict.fromkeys([*(text for clip in clips for text in (clip.text, *clip.captions)), *prompts]))
    weights = f"{base.fingerprint} {VERSION}"
    words = f"{weights} {base.text_precision}"
    clip_files = [cache / "latents" / _key("clip", clip.clip_sha256, weights) for clip in clips]
    turned_files = [
        cache / "latents" / _key("turned", clip.clip_sha256, weights)
        if turn and clip.split == "train"
        else None
        for clip in clips
    ]
    text_files = {text: cache / "prompts" / _key("prompt", text, words) for text in texts}
    silence_file = cache / "latents" / _key("silence", str(silence_frames), weights)
    jobs: dict[Path, Encode] = {silence_file: partial(_encode_silence, base, silence_frames)}
    for file, turned, clip in zip(clip_files, turned_files, clips, strict=True):
        jobs[file] = partial(_encode_clip, base, clip, 1)
        if turned:
            jobs[turned] = partial(_encode_clip, base, clip, -1)
    for text, file in text_files.items():
        jobs[file] = partial(_encode_text, base, text)
    fill_cache(jobs, "Encoding", "clips and prompts, once")
    frames = [_frames(file) for file in clip_files]
    return EncodedDataset(
        [EncodedClip(*entry) for entry in zip(clips, frames, clip_files, turned_files, strict=True)],
        text_files,
        load_file(silence_file)["latents"],
    )


def fill_cache(jobs: dict[Path, Encode], title: str, words: str) -> None:
    """Write each file that is not there yet, or damaged, from what its job returns; `title` and `words` for the bar."""
    missing = [(file, encode) for file, encode in jobs.items() if not _is_whole(file)]
    if not missing:
        return
    with progress_bar(title, len(missing)) as report:
        for done, (file, encode) in enumerate(missing, 1):
            tensors = {name: tensor.contiguous() for name, tensor in encode().items()}
            write_file(file, save(tensors))
            report(done, words)


def _encode_clip(base: BaseModel, clip: Clip, sign: int) -> dict[str, torch.Tensor]:
    try:
        audio = torch.from_numpy(read_audio(clip.path))
    except DatasetError as error:
        raise WoodshedError(str(error)) from error
    return {"latents": base.encode_audio(sign * audio[None])[0].cpu()}


def _encode_text(base: BaseModel, text: str) -> dict[str, torch.Tensor]:
    return {"tokens": base.encode_prompt(text).tokens.cpu()}


def _encode_silence(base: BaseModel, frames: int) -> dict[str, torch.Tensor]:
    if frames == 0:
        return {"latents": torch.zeros(base.latent_channels, 0)}
    return {"latents": base.encode_audio(torch.zeros(1, 2, frames * base.samples_per_latent))[0].cpu()}


def _key(kind: str, content: str, encoder: str) -> str:
    return hashlib.sha256(f"{kind}\n{encoder}\n{content}".encode()).hexdigest() + ".safetensors"


def _is_whole(file: Path) -> bool:
    """Whether `file` is there and complete: safetensors compares the header with the length of the file."""
    try:
        with safe_open(file, "pt") as held:
            return bool(held.keys())
    except (OSError, SafetensorError):
        return False


def _frames(file: Path) -> int:
    with safe_open(file, "pt") as held:
        return held.get_slice("latents").get_shape()[1]
