"""The starter base, measured: the parts of the benchmark in turn, told as JSON and as a page."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from finetune.base_model import BaseModel
from finetune.bench import autoencoder, fine_tuning, page, prompts, speed, tempo
from finetune.bench.figures import Part, PartName
from finetune.errors import WoodshedError
from finetune.files import write_file, write_folder
from finetune.hear import load
from finetune.pictures import draw_spectrograms


@dataclass(frozen=True)
class Plan:
    """How much to measure. `recordings` is a folder with takes/, loops/ and one_shots/, None where there is none;
    `hits_each` sounds for each class of hits, `minutes` of training and `seeds` for each held-out clip of a player."""

    recordings: Path | None
    out: Path
    hits_each: int = 20
    loops: int = 60
    minutes: float = 8.0
    seeds: int = 2
    steps: int = 50
    guidance: float = 4.0


def run(plan: Plan, only: Sequence[PartName]) -> list[Part]:
    """Measure the parts of `only` (all, if empty) and write OUT/bench.json, OUT/index.html and OUT/pictures/.

    Raises WoodshedError when OUT cannot be written.
    """
    base = load("starter")
    parts = [_part(name, base, plan) for name in PartName if not only or name in only]
    facts = {"base": base.name, "base_fingerprint": base.fingerprint, "machine": machine()}
    document = facts | {"parts": as_json(parts)}
    text = page.render(parts, f"{machine()}. Weights {base.fingerprint[:12]}.", base.sample_rate)
    try:
        write_file(plan.out / "bench.json", (json.dumps(document, indent=1) + "\n").encode())
        write_file(plan.out / "index.html", text.encode())
        with write_folder(plan.out / "pictures") as pictures:  # takes the place of an earlier run's
            for part in parts:
                for number, row in enumerate(part.listening):
                    picture = pictures / f"{part.name}-{number}.png"
                    draw_spectrograms(picture, row.title, row.sounds, base.sample_rate)
    except OSError as error:
        raise WoodshedError(f"'{plan.out}' could not be written: {error}") from error
    return parts


def as_json(parts: Sequence[Part]) -> dict[str, Any]:
    """Part → its figures and details."""
    return {part.name: part.as_json() for part in parts}


def machine() -> str:
    """What this was measured on."""
    model = platform.processor() or platform.machine()
    threads = f"cores: {os.cpu_count()}, threads: {torch.get_num_threads()}"
    return f"{platform.system()} on {model}, {threads}, PyTorch {torch.__version__}"


def _part(name: PartName, base: BaseModel, plan: Plan) -> Part:
    match name:
        case PartName.autoencoder:
            return autoencoder.benchmark(base, plan.recordings)
        case PartName.prompts:
            return prompts.benchmark(base, plan.hits_each, plan.steps, plan.guidance)
        case PartName.tempo:
            return tempo.benchmark(base, plan.loops, plan.steps, plan.guidance)
        case PartName.fine_tuning:
            out = plan.out / "fine-tuning"
            return fine_tuning.benchmark(
                plan.recordings, out, plan.minutes, plan.seeds, plan.steps, plan.guidance
            )
        case PartName.speed:
            return speed.benchmark()
