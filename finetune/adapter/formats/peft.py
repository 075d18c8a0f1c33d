"""PEFT's folder: adapter_model.safetensors and adapter_config.json; a duration embedder in a sub-folder."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from finetune.adapter.formats.metadata import base_label
from finetune.adapter.formats.parts import by_module, low_rank, rounded
from finetune.adapter.formats.peft_config import check_config, config_of, scale_of
from finetune.adapter.formats.tensors import read_tensors, write_tensors
from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.errors import WoodshedError
from finetune.files import write_folder

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
PARTS = ("transformer", "duration_embedder")
PREFIX = "base_model.model."
_KEY = re.compile(
    r"base_model\.model\.(?P<module>.+)\.(?P<role>lora_A|lora_B|lora_magnitude_vector)(\.default)?(\.weight)?"
)


def place(folder: Path, part: str) -> Path:
    """Where the adapter of one part of the base lies: the transformer's in the folder itself."""
    return folder if part == "transformer" else folder / part


def read(folder: Path) -> LowRankAdapter:
    """All parts of the folder. Raises WoodshedError where it is not a whole LoRA or DoRA."""
    modules: dict[str, LowRank] = {}
    header: dict[str, str] = {}
    for part in PARTS:
        here = place(folder, part)
        if not (here / WEIGHTS).exists():
            continue
        stored, config = read_tensors(here / WEIGHTS), read_config(here / CONFIG)
        header = stored.header | header  # the transformer's, where both say something
        for module, roles in by_module(stored, _KEY).items():
            modules[f"{part}.{module}"] = from_peft(config, module, roles, f"'{here}', {module}")
    return LowRankAdapter(modules, header)


def from_peft(config: dict[str, Any], module: str, roles: dict[str, torch.Tensor], where: str) -> LowRank:
    """One module of PEFT's, whose magnitude must be there exactly if the config says DoRA."""
    magnitude = roles.get("lora_magnitude_vector")
    if bool(config.get("use_dora")) != (magnitude is not None):
        raise WoodshedError(f"{where}: the file and its configuration disagree on whether it is a DoRA.")
    part = low_rank(where, roles.get("lora_A"), roles.get("lora_B"), 1.0, magnitude)
    return LowRank(part.down, part.up, scale_of(config, module, part.rank, where), part.row_magnitude)


def read_config(path: Path) -> dict[str, Any]:
    """adapter_config.json, which must describe a LoRA or DoRA."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WoodshedError(f"'{path}' cannot be read as a configuration of PEFT: {error}") from error
    if not isinstance(config, dict):
        raise WoodshedError(f"'{path}' is not a configuration of PEFT.")
    check_config(config, f"'{path}'")
    return config


def to_peft(module: str, part: LowRank, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """One module's tensors by PEFT's names; those of a 1×1 convolution have its dimensions."""
    small = rounded(part, dtype)
    if module.endswith("process_conv"):
        tensors = {"lora_A.weight": small.down.unsqueeze(-1), "lora_B.weight": small.up.unsqueeze(-1)}
        shape: tuple[int, ...] = (1, -1, 1)
    else:
        tensors = {"lora_A.weight": small.down, "lora_B.weight": small.up}
        shape = (-1,)
    if part.row_magnitude is not None:
        tensors["lora_magnitude_vector"] = part.row_magnitude.reshape(shape)
    return {f"{module}.{name}": tensor for name, tensor in tensors.items()}


def write(adapter: LowRankAdapter, folder: Path, dtype: torch.dtype, header: dict[str, str]) -> list[str]:
    """Write the folder beside and rename it. Returns no notes: it holds ranks and alphas of every module.

    Raises WoodshedError for kinds that PEFT has not.
    """
    encoded = {}
    for part in PARTS:
        own = {m.removeprefix(f"{part}."): p for m, p in adapter.modules.items() if m.startswith(f"{part}.")}
        if own:
            config = config_of(own, base_label(adapter.facts.get("base")))
            renamed = [to_peft(module, low, dtype).items() for module, low in own.items()]
            encoded[part] = config, {PREFIX + name: tensor for pairs in renamed for name, tensor in pairs}
    with write_folder(folder) as beside:
        for part, (config, tensors) in encoded.items():
            here = place(beside, part)
            here.mkdir(exist_ok=True)
            write_tensors(here / WEIGHTS, tensors, header)
            (here / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return []
