"""Load the base that an adapter belongs to, put the adapter on it, generate, write the file."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from finetune.adapter import find_adapter, load_adapter, read_card
from finetune.base_model import BaseModel, load_base
from finetune.errors import WoodshedError
from finetune.generate import Request, check_request, generate, write_audio
from finetune.progress import progress_bar


def hear(
    source: str, request: Request, out: Path, strength: float = 1.0, base: str | None = None
) -> dict[str, Any]:
    """Generate `request` into `out`. `source` is a run, an adapter folder, or the name of a base for no adapter.

    Returns what was done, as plain values. Raises WoodshedError with a sentence for everything that cannot be.
    """
    check_request(request)
    if is_base(source):
        if base not in (None, source):
            raise WoodshedError(
                f"'{source}' is itself a base; leave --base {base} out, or name an adapter first."
            )
        model = load(source)
    else:
        folder = find_adapter(Path(source))
        excerpt = read_card(folder).get("excerpt_seconds")
        if excerpt and strength:  # at strength 0 nothing of the adapter counts, its way with lengths neither
            request = replace(request, seconds_total=max(excerpt, request.seconds))
        model = load(base or base_of(folder))
        load_adapter(model, folder, strength)
    with progress_bar("Generating", request.steps) as report:
        audio = generate(model, request, lambda step: report(step, ""))
    write_audio(out, audio, model.sample_rate)
    return {"out": str(out), "source": source, "base": model.name, "strength": strength, **asdict(request)}


def load(base: str) -> BaseModel:
    """The base on the GPU in 16 bits if there is one, else on the CPU."""
    if torch.cuda.is_available():
        return load_base(base, torch.bfloat16, "cuda")
    return load_base(base)


def base_of(adapter: Path) -> str:
    """Where the base of an adapter folder is: its run's recipe says, or the adapter itself where that is a name."""
    recipe = adapter.parent / "recipe.yaml"
    if recipe.is_file():
        return str(OmegaConf.load(recipe).base.model)
    named = read_card(adapter).get("base")
    if named is None or not is_base(named):
        raise WoodshedError(
            f"The adapter in '{adapter}' was trained on the base '{named or 'unknown'}' and does not say where that "
            "lies here; name its folder with --base."
        )
    return str(named)


def is_base(source: str) -> bool:
    """Whether `source` names a base rather than an adapter or a run."""
    return source == "starter" or (Path(source) / "transformer" / "config.json").is_file()
