"""Golden outputs as small files: of each output some values, some sums over all of it, and its largest value."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from finetune.files import write_file
from tests.tools.draws import draw_places, draw_signs

FOLDER = Path(__file__).parents[1] / "finetune" / "fixtures" / "stability"
VALUES, SUMS = 256, 4


def digest(item: str, output: torch.Tensor) -> torch.Tensor:
    """float32: the largest absolute value, sums over all values with random signs, values at random places."""
    flat = output.detach().double().flatten()
    if not flat.isfinite().all():
        raise ValueError(f"{item} is not finite")
    sums = [flat @ draw_signs(f"{item} {number}", len(flat)) / math.sqrt(len(flat)) for number in range(SUMS)]
    places = draw_places(item, VALUES, len(flat)) if len(flat) > VALUES else torch.arange(len(flat))
    return torch.cat([flat.abs().max().reshape(1), torch.stack(sums), flat[places]]).float()


def error(item: str, output: torch.Tensor, golden: torch.Tensor) -> float:
    """The largest difference between `output` and the output that `golden` is of, as a share of that one's peak."""
    difference = digest(item, output) - golden
    return float(difference.abs().max() / golden[0])


def write_golden(geometry: str, outputs: dict[str, torch.Tensor]) -> Path:
    path = FOLDER / f"{geometry}.safetensors"
    write_file(path, save({item: digest(item, output) for item, output in outputs.items()}))
    return path


def read_golden(geometry: str) -> dict[str, torch.Tensor]:
    return load_file(FOLDER / f"{geometry}.safetensors")
