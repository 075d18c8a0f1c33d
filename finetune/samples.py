"""What the adapter sounds like on the way: the same prompts with the same seeds, again and again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from data_prep.dataset import Clip
from finetune.audio_files import write_audio
from finetune.base_model import BaseModel, decoding
from finetune.batches import excerpt_seconds
from finetune.files import write_folder
from finetune.generate import Request, sample_latents
from finetune.latents import EncodedDataset
from finetune.recipe import Recipe

CAPTIONS = 2  # captions taken as prompts when the recipe has none


def sample_requests(recipe: Recipe, clips: Sequence[Clip]) -> list[Request]:
    """What to generate: the recipe's prompts, or captions of held-out clips (of training clips without any).

    Nothing when `samples.every` is 0.
    """
    group = recipe.samples
    if not group.every:
        return []
    held_out = [clip for clip in clips if clip.split == "validation"] or clips
    captions = list(dict.fromkeys(clip.text for clip in held_out))[:CAPTIONS]
    longest = max(clip.seconds for clip in clips if clip.split == "train")
    seconds = group.seconds or min(longest, recipe.data.crop_seconds)
    told = excerpt_seconds(clips, recipe.data.length)
    return [
        Request(prompt, seconds, group.seed + n, group.steps, group.guidance, told)
        for n, prompt in enumerate(group.prompts or captions)
    ]


def save_samples(
    base: BaseModel, data: EncodedDataset, requests: Sequence[Request], run: Path, step: int
) -> Path:
    """Write `samples/step-000123/01.wav` … and prompts.json, which says what each was asked for."""
    latents = [sample_latents(base, data.prompt(request.prompt), request) for request in requests]
    folder = run / "samples" / f"step-{step:06}"
    with decoding(base), write_folder(folder) as part:
        asked = []
        for number, (request, sound) in enumerate(zip(requests, latents, strict=True), 1):
            audio = base.decode_latents(sound)[0, :, : round(request.seconds * base.sample_rate)]
            write_audio(part / f"{number:02}.wav", audio.cpu().numpy(), base.sample_rate)
            asked.append({"file": f"{number:02}.wav", **asdict(request)})
        words = json.dumps(asked, indent=1, ensure_ascii=False) + "\n"
        (part / "prompts.json").write_text(words, encoding="utf-8")
    return folder
