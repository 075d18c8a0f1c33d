"""Which program an adapter's file or folder is from, told by what is in it, never by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from finetune.adapter.formats import comfyui, diffusers, peft, stability
from finetune.adapter.formats.tensors import read_header
from finetune.errors import WoodshedError

Format = Literal["peft", "diffusers", "stable-audio-3", "comfyui"]
_WHOLE_MODELS = ("model.model.", "pretransform.model.", "model.diffusion_model.", "transformer_blocks.")


def locate(path: Path) -> tuple[Format, Path]:
    """The format of `path` and where it really lies: a PEFT folder, or a file of one of the other formats.

    Raises WoodshedError, with names, for whatever is no adapter.
    """
    if path.is_dir():
        single = path / diffusers.FILE
        if single.is_file():
            return "diffusers", single
        return "peft", find_adapter(path)
    if not path.exists():
        raise WoodshedError(
            f"There is no adapter '{path}'. Name a run such as runs/mykit, an adapter's folder or a .safetensors file."
        )
    _, names = read_header(path)
    if any(stability.MARK in name for name in names):
        return "stable-audio-3", path
    if any(name.startswith(peft.PREFIX) for name in names):
        if path.name == peft.WEIGHTS and (path.parent / peft.CONFIG).is_file():
            return "peft", path.parent
        raise WoodshedError(
            f"'{path}' holds the weights of a PEFT adapter without its {peft.CONFIG}, which says how strong they are. "
            f"Put both, under their own names, into one folder and name the folder."
        )
    if any(name.startswith(comfyui.PREFIX) and ".lora_" in name for name in names):
        return "comfyui", path
    if any(name.startswith(peft.PARTS) and ".lora_" in name for name in names):
        return "diffusers", path
    if any(name.startswith(_WHOLE_MODELS) for name in names):
        raise WoodshedError(
            f"'{path}' is a whole model, not an adapter. To use it, name its folder as the base."
        )
    some = f", for instance '{min(names)}'" if names else ""
    raise WoodshedError(
        f"'{path}' is laid out in no way that Woodshed knows ({len(names)} tensors{some}). It reads adapters of PEFT, "
        "diffusers, Stability's program and ComfyUI."
    )


def find_adapter(path: Path) -> Path:
    """The PEFT folder meant by `path`: itself, or the `adapter` folder of a run."""
    for folder in (path, path / "adapter"):
        if (folder / peft.WEIGHTS).is_file() and (folder / peft.CONFIG).is_file():
            return folder
    if (path / "checkpoints").is_dir():
        best = f", or take its best so far, '{path / 'best'}'" if (path / "best").is_dir() else ""
        raise WoodshedError(
            f"The run '{path}' has no finished adapter yet. Let it finish with: woodshed resume '{path}'{best}"
        )
    raise WoodshedError(
        f"'{path}' is neither a run of Woodshed nor an adapter folder (which holds {peft.WEIGHTS} and {peft.CONFIG})."
    )
