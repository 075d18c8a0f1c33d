"""Load the base that an adapter belongs to, put the adapter on it, generate, write the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

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
    model = with_adapter(source, strength, base)
    with progress_bar("Generating", request.steps) as report:
        audio = generate(model, request, lambda step: report(step, ""))
    write_audio(out, audio, model.sample_rate)
    return {
        "out": str(out), "source": source, "base": model.name, "strength": strength, "prompt": request.prompt,
        "seconds": request.seconds, "seed": request.seed, "steps": request.steps, "guidance": request.guidance,
    }  # fmt: skip


def with_adapter(source: str, strength: float = 1.0, base: str | None = None) -> BaseModel:
    """The base with the adapter of `source` on it, on the GPU in 16 bits if there is one."""
    cuda = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if cuda else ("cpu", torch.float32)
    if is_base(source):
        if base not in (None, source):
            raise WoodshedError(
                f"'{source}' is itself a base; leave --base {base} out, or name an adapter first."
            )
        return load_base(source, dtype, device)
    folder = find_adapter(Path(source))
    name = base or read_card(folder).get("base")
    if not name:
        raise WoodshedError(
            f"The adapter in '{folder}' does not say which base it belongs to; name it with --base."
        )
    model = load_base(name, dtype, device)
    load_adapter(model, folder, strength)
    return model


def is_base(source: str) -> bool:
    """Whether `source` names a base rather than an adapter or a run."""
    return source == "starter" or (Path(source) / "model_index.json").is_file()
