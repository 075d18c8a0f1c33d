"""The PEFT folder of an adapter: adapter_model.safetensors and adapter_config.json, as PEFT itself writes them.

The transformer's adapter lies in the folder itself, so that `PeftModel.from_pretrained(transformer, folder)` loads
it; a duration embedder's lies in the sub-folder `duration_embedder`. The safetensors header carries, under
`woodshed`, a JSON card that says which base the adapter belongs to.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors.torch import save

from finetune.adapter.attach import Adapter, inject
from finetune.adapter.formats import find_adapter
from finetune.adapter.formats.peft import CONFIG, PARTS, PREFIX, WEIGHTS, place, read_config
from finetune.adapter.formats.tensors import read_header, read_tensors, with_header, with_tensor_hash
from finetune.adapter.recorded_base import check_recorded_base
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError
from finetune.files import write_folder


def save_adapter(
    adapter: Adapter,
    folder: Path,
    card: dict[str, Any],
    finish: Callable[[Path], object] = lambda beside: None,
) -> None:
    """Write the PEFT folder beside `folder` and rename it into place; one that is there is replaced whole.

    `card` must hold `base` and `base_fingerprint`; whatever else it holds is carried along. `finish` is called with
    the folder that is written, before it takes its name.
    """
    state = adapter.state()
    header = {"format": "pt", "woodshed": json.dumps(card, sort_keys=True)}
    with write_folder(folder) as beside:
        for part, config in adapter.configs.items():
            here = place(beside, part)
            here.mkdir(exist_ok=True)
            own = {
                PREFIX + n.removeprefix(part + "."): w for n, w in state.items() if n.startswith(part + ".")
            }
            content = save(own)
            (here / WEIGHTS).write_bytes(with_header(content, with_tensor_hash(header, content)))
            written = config.to_dict() | {"base_model_name_or_path": card["base"], "inference_mode": True}
            (here / CONFIG).write_text(json.dumps(written, indent=2, sort_keys=True, default=_plain) + "\n")
        finish(beside)


def load_adapter(base: BaseModel, folder: Path, strength: float = 1.0) -> Adapter:
    """Put the adapter of `folder` on `base`, every weight accounted for, scaled by `strength`.

    Raises WoodshedError when the folder is not an adapter or was trained on another base.
    """
    folder = find_adapter(folder)
    check_recorded_base(read_card(folder), base, str(folder))
    configs = {part: _lora_config(place(folder, part)) for part in _parts(folder)}
    adapter = inject(base, configs)
    adapter.load_state(read_state(folder))
    adapter.train(False)
    for parameter in adapter.parameters():
        parameter.requires_grad_(False)
    adapter.set_strength(strength)
    return adapter


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """All weights of an adapter folder, under the names of `Adapter.named_parameters`."""
    folder = find_adapter(path)
    state = {}
    for part in _parts(folder):
        for name, tensor in read_tensors(place(folder, part) / WEIGHTS).tensors.items():
            whole = (
                name + ".weight" if name.endswith(".lora_magnitude_vector") else name
            )  # PEFT writes it bare
            state[f"{part}.{whole.removeprefix(PREFIX)}"] = tensor.float()
    return state


def read_card(folder: Path) -> dict[str, Any]:
    """What Woodshed wrote into the weights' header; empty for an adapter made elsewhere."""
    header, _ = read_header(find_adapter(folder) / WEIGHTS)
    return json.loads(header.get("woodshed", "{}"))


def _parts(folder: Path) -> list[str]:
    return [part for part in PARTS if (place(folder, part) / WEIGHTS).is_file()]


def _lora_config(folder: Path) -> LoraConfig:
    read_config(folder / CONFIG)  # says in a sentence what is wrong with it
    try:
        return LoraConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError) as error:
        raise WoodshedError(f"'{folder / CONFIG}' is not the configuration of a LoRA: {error}") from error


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else str(getattr(value, "value", value))
