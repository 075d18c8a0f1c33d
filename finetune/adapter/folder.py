"""The PEFT folder of an adapter: adapter_model.safetensors and adapter_config.json, as PEFT itself writes them.

The transformer's adapter lies in the folder itself, so that `PeftModel.from_pretrained(transformer, folder)` loads
it; a duration embedder's lies in the sub-folder `duration_embedder`. The safetensors header carries, under
`woodshed`, a JSON card that says which base the adapter belongs to.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from finetune.adapter.attach import Adapter, inject
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError
from finetune.files import write_folder

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."


def save_adapter(adapter: Adapter, folder: Path, card: dict[str, Any]) -> None:
    """Write the PEFT folder beside `folder` and rename it into place; one that is there is replaced whole.

    `card` must hold `base` and `base_fingerprint`; whatever else it holds is carried along.
    """
    state = adapter.state()
    header = {"format": "pt", "woodshed": json.dumps(card, sort_keys=True)}
    with write_folder(folder) as beside:
        for part, config in adapter.configs.items():
            place = _place(beside, part)
            place.mkdir(exist_ok=True)
            own = {
                _PREFIX + n.removeprefix(part + "."): w for n, w in state.items() if n.startswith(part + ".")
            }
            save_file(own, place / WEIGHTS, metadata=header)
            written = config.to_dict() | {"base_model_name_or_path": card["base"], "inference_mode": True}
            (place / CONFIG).write_text(json.dumps(written, indent=2, sort_keys=True, default=_plain) + "\n")


def load_adapter(base: BaseModel, folder: Path, strength: float = 1.0) -> Adapter:
    """Put the adapter of `folder` on `base`, every weight accounted for, scaled by `strength`.

    Raises WoodshedError when the folder is not an adapter or was trained on another base.
    """
    folder = find_adapter(folder)
    card = read_card(folder)
    trained_on = card.get("base_fingerprint", base.fingerprint)
    if trained_on != base.fingerprint:
        raise WoodshedError(
            f"The adapter in '{folder}' was trained on another base ('{card.get('base')}', weights "
            f"{trained_on[:12]}…) than '{base.name}' (weights {base.fingerprint[:12]}…). Name that base with --base."
        )
    configs = {part: _read_config(_place(folder, part)) for part in _parts(folder)}
    adapter = inject(base, configs)
    adapter.load_state(read_state(folder))
    adapter.train(False)
    for parameter in adapter.parameters():
        parameter.requires_grad_(False)
    adapter.set_strength(strength)
    return adapter


def find_adapter(path: Path) -> Path:
    """The PEFT folder meant by `path`: itself, or the `adapter` folder of a run."""
    for folder in (path, path / "adapter"):
        if (folder / WEIGHTS).is_file() and (folder / CONFIG).is_file():
            return folder
    if (path / "checkpoints").is_dir():
        raise WoodshedError(
            f"The run '{path}' has no finished adapter yet. Let it finish with: woodshed resume '{path}'"
        )
    raise WoodshedError(
        f"'{path}' is neither a run of Woodshed nor an adapter folder (which holds {WEIGHTS} and {CONFIG})."
    )


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """All weights of an adapter folder, under the names of `Adapter.named_parameters`."""
    folder = find_adapter(path)
    state = {}
    for part in _parts(folder):
        with _open(_place(folder, part) / WEIGHTS) as file:
            for name in file.keys():  # noqa: SIM118 (a safetensors file is no mapping)
                state[f"{part}.{name.removeprefix(_PREFIX)}"] = file.get_tensor(name).float()
    return state


def read_card(folder: Path) -> dict[str, Any]:
    """What Woodshed wrote into the weights' header; empty for an adapter made elsewhere."""
    with _open(find_adapter(folder) / WEIGHTS) as file:
        return json.loads((file.metadata() or {}).get("woodshed", "{}"))


def _open(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        raise WoodshedError(
            f"The adapter file '{path}' cannot be read, it is damaged or cut off: {error}"
        ) from error


def _place(folder: Path, part: str) -> Path:
    return folder if part == "transformer" else folder / part


def _parts(folder: Path) -> list[str]:
    return [p for p in ("transformer", "duration_embedder") if (_place(folder, p) / WEIGHTS).is_file()]


def _read_config(folder: Path) -> LoraConfig:
    try:
        return LoraConfig.from_pretrained(str(folder))
    except (OSError, ValueError, TypeError) as error:
        raise WoodshedError(f"'{folder / CONFIG}' is not the configuration of a LoRA: {error}") from error


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set) else str(getattr(value, "value", value))
