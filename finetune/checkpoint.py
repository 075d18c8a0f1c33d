"""Checkpoints: adapter, optimizer and position; enough to go on bit for bit.

`checkpoints/step-000123/` holds adapter.safetensors, optimizer.safetensors, average.safetensors where the recipe has
an average, and state.json, which carries the hashes of the others. A folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

from finetune.files import remove_folder, remove_leftovers, write_folder
from finetune.progress import say

TENSOR_FILES = ("adapter", "optimizer", "average")


@dataclass
class Checkpoint:
    """State after `step`. `facts` is plain data: what the run was, the optimizer's numbers. `average` is the moving
    average of the adapter, empty where there is none."""

    step: int
    adapter: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]
    facts: dict[str, Any]
    average: dict[str, torch.Tensor] = field(default_factory=dict)


def save_checkpoint(run: Path, checkpoint: Checkpoint, keep: int, spared: Container[int | None] = ()) -> Path:
    """Write a checkpoint and, once it is on the disk, remove all but the `keep` newest and those of `spared` steps."""
    contents = {"adapter": checkpoint.adapter, "optimizer": checkpoint.optimizer}
    if checkpoint.average:
        contents["average"] = checkpoint.average
    folder = run / "checkpoints" / f"step-{checkpoint.step:06}"
    with write_folder(folder) as part:
        for name, tensors in contents.items():
            save_file(tensors, part / f"{name}.safetensors")
        hashes = {name: _sha256(part / f"{name}.safetensors") for name in contents}
        state = {"step": checkpoint.step, "sha256": hashes, **checkpoint.facts}
        (part / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
    for old in checkpoint_folders(run)[keep:]:
        if step_of(old) not in spared:
            remove_folder(old)
    return folder


def latest_checkpoint(run: Path, up_to: float = math.inf) -> Checkpoint | None:
    """The newest checkpoint, of step `up_to` at most, that is whole; damaged ones are named and passed over. None where
    there is none."""
    if (run / "checkpoints").is_dir():
        remove_leftovers(run / "checkpoints")
    for folder in checkpoint_folders(run):
        if step_of(folder) > up_to:
            continue
        try:
            return _read(folder)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            say(f"The checkpoint {folder.name} is damaged ({error}) and is passed over.")
    return None


def checkpoint_folders(run: Path) -> list[Path]:
    """Newest first."""
    folders = (run / "checkpoints").glob("step-*")
    return sorted((each for each in folders if each.name[5:].isdecimal()), key=step_of, reverse=True)


def step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _read(folder: Path) -> Checkpoint:
    facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    step, hashes = int(facts.pop("step")), facts.pop("sha256")
    tensors = {}
    for name in [name for name in TENSOR_FILES if name in hashes]:
        data = (folder / f"{name}.safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != hashes[name]:
            raise ValueError(f"{name}.safetensors is not what was written")
        tensors[name] = load(data)
    return Checkpoint(step, tensors["adapter"], tensors["optimizer"], facts, tensors.get("average", {}))


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
