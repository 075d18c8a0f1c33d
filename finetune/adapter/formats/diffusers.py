"""diffusers' single file: names begin with a pipeline's part, the header holds PEFT's configuration of each part.

diffusers has no LoRA support for Stable Audio 3's pipelines; the file is what its other pipelines write, and what
`load_lora_adapter` of a model reads.
"""

from __future__ import annotations

import json
import re
from typing import Any

import torch

from finetune.adapter.formats.metadata import base_label
from finetune.adapter.formats.parts import Encoded, by_module
from finetune.adapter.formats.peft import PARTS, from_peft, to_peft
from finetune.adapter.formats.peft_config import check_config, config_of
from finetune.adapter.formats.tensors import Stored
from finetune.adapter.low_rank import LowRankAdapter
from finetune.errors import WoodshedError

FILE = "pytorch_lora_weights.safetensors"
IMPLEMENTATION = "https://github.com/huggingface/diffusers"
_METADATA = "lora_adapter_metadata"
_KEY = re.compile(
    r"(?P<module>(transformer|duration_embedder)\..+)\.(?P<role>lora_A|lora_B|lora_magnitude_vector)(\.weight)?"
)


def decode(stored: Stored) -> LowRankAdapter:
    """The adapter of such a file; one without PEFT's configuration has scale 1, as in diffusers."""
    configs = _configs(stored)
    modules = {}
    for name, roles in by_module(stored, _KEY).items():
        part, _, module = name.partition(".")
        config = configs.get(part) or {"use_dora": "lora_magnitude_vector" in roles}
        modules[name] = from_peft(config, module, roles, f"'{stored.path}', {name}")
    return LowRankAdapter(modules, stored.header)


def encode(adapter: LowRankAdapter, dtype: torch.dtype) -> Encoded:
    """Tensors and header. Raises WoodshedError for kinds that PEFT, and so diffusers, has not."""
    configs: dict[str, Any] = {}
    tensors: dict[str, torch.Tensor] = {}
    for part in PARTS:
        own = {m.removeprefix(f"{part}."): p for m, p in adapter.modules.items() if m.startswith(f"{part}.")}
        if own:
            config = config_of(own, base_label(adapter.facts.get("base")))
            configs |= {f"{part}.{key}": value for key, value in config.items()}
            for module, low in own.items():
                tensors |= {f"{part}.{name}": tensor for name, tensor in to_peft(module, low, dtype).items()}
    return Encoded(tensors, {_METADATA: json.dumps(configs, sort_keys=True)})


def _configs(stored: Stored) -> dict[str, dict[str, Any]]:
    if _METADATA not in stored.header:
        return {}
    try:
        flat = json.loads(stored.header[_METADATA])
        configs = {
            part: {k.removeprefix(f"{part}."): v for k, v in flat.items() if k.startswith(f"{part}.")}
            for part in PARTS
        }
    except (ValueError, AttributeError) as error:
        raise WoodshedError(
            f"'{stored.path}': '{_METADATA}' in its header is no configuration: {error}"
        ) from error
    for part, config in configs.items():
        check_config(config, f"'{stored.path}' ({part})")
    return configs
