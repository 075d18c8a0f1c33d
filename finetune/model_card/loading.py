"""The lines that load an export in the program it was written for, and in Woodshed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from finetune.base_model.sources import is_stability
from finetune.model_card.markdown import Markdown, as_markdown, code

LIBRARIES = {
    "peft": "peft",
    "diffusers": "diffusers",
    "stable-audio-3": "stable-audio-3",
    "comfyui": "comfyui",
}


def library(program: str, export: Path) -> str:
    """The Hub's name of the library that loads it; of a merged base, by the layout in which it lies."""
    layout = "stable-audio-3" if is_stability(export) else "diffusers"
    return LIBRARIES.get(program, layout)


def loading(program: str, export: Path) -> Markdown:
    """How to load an export that was written for `program`."""
    name = export.name
    quoted = json.dumps(name, ensure_ascii=False)
    if program == "peft":
        return code(
            f"from peft import PeftModel\n\nPeftModel.from_pretrained(pipeline.transformer, {quoted})",
            "python",
        )
    if program == "diffusers":
        return code(
            "from diffusers.loaders import PeftAdapterMixin\n\n"
            "model = pipeline.transformer\n"
            'model.__class__ = type("WithAdapters", (PeftAdapterMixin, type(model)), {})\n'
            f'model.load_lora_adapter(".", weight_name={quoted}, prefix="transformer")',
            "python",
        )
    if program == "stable-audio-3":
        return code(f'stable-audio -p "PROMPT" --lora-ckpt-path {shlex.quote(name)} -o out.wav', "sh")
    if program == "comfyui":
        return Markdown(
            f"Put {as_markdown(name)} into `ComfyUI/models/loras/`, press R, and set a `LoraLoaderModelOnly` node "
            "between the checkpoint's model and the sampler."
        )
    return code(_stability(quoted) if is_stability(export) else _diffusers(quoted), "python")


def _stability(quoted: str) -> str:
    """A whole base in Stability's program, whose own `from_pretrained` knows names alone."""
    return (
        "import json\n\n"
        "from stable_audio_3.loading_utils import load_diffusion_cond\n"
        "from stable_audio_3.model import StableAudioModel\n\n"
        f"folder = {quoted}\n"
        'with open(f"{folder}/model_config.json") as file:\n'
        "    config = json.load(file)\n"
        'weights = load_diffusion_cond(config, f"{folder}/model.safetensors", device="cuda", model_half=True)\n'
        'model = StableAudioModel(weights, config, "cuda", True)'
    )


def _diffusers(quoted: str) -> str:
    return (
        "from diffusers import StableAudio3Pipeline\n\n"
        f"pipeline = StableAudio3Pipeline.from_pretrained({quoted})"
    )


def in_woodshed(program: str, name: str, base: str | None) -> Markdown:
    """The command; `base` is a name that Woodshed knows, None for a folder of the user's own."""
    more = "" if program == "merged" else f" --base {shlex.quote(base) if base else 'BASE'}"
    return code(f'woodshed generate {shlex.quote(name)}{more} -p "PROMPT" -o out.wav', "sh")


def verifying(name: str, key_id: str | None) -> Markdown:
    return code(f"woodshed verify {shlex.quote(name)}" + (f" --trust {key_id}" if key_id else ""), "sh")
