"""What both trainings of the starter share: their options, their learning rate by the clock, their saved state."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from finetune.files import write_file


def read_options(
    description: str | None, minutes: float, batch: int, learning_rate: float, kits: int
) -> argparse.Namespace:
    """The command line, with these defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--learning-rate", type=float, default=learning_rate)
    parser.add_argument("--kits", type=int, default=kits)
    return parser.parse_args()


def rate_at(learning_rate: float, step: int, warmup: int, progress: float) -> float:
    """A cosine from `learning_rate` to a fiftieth of it over the time given, `progress` 0 to 1, after a warm-up."""
    return (
        learning_rate
        * min(1, (step + 1) / warmup)
        * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * progress)))
    )


def save_state(path: Path, tensors: dict[str, torch.Tensor], spent: float, step: int) -> None:
    """Write the weights, the seconds spent and the steps done."""
    position = {"spent": torch.tensor(spent), "done": torch.tensor(step)}
    write_file(path, save(tensors | position))


def load_state(path: Path) -> tuple[dict[str, torch.Tensor], float, int]:
    """What `save_state` wrote."""
    tensors = load_file(path)
    return tensors, float(tensors.pop("spent")), int(tensors.pop("done"))
