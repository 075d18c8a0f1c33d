"""Woodshed's files for ComfyUI in ComfyUI's own loader, on random weights of any geometry.

    python -m tests.tools.check_comfyui_loader CHECKOUT [GEOMETRY ...]

CHECKOUT holds ComfyUI's `comfy/lora.py`, `comfy/utils.py` and `comfy/weight_adapter/`; what they import of the rest of
ComfyUI is stood in for. ComfyUI names its model's weights `diffusion_model.` and Stability's name. Every tensor of the
file must be used ("lora key not loaded" is an error), and the patched weights must be ours, in float32. Predictions
are those of Woodshed's model with ComfyUI's weights in it. Errors are relative to what the adapter changes.
Autoencoder and text encoder, which no adapter changes, are tiny ones. `medium` takes 12 GB of memory.
"""

from __future__ import annotations

import json
import logging
import sys
import types
from pathlib import Path
from typing import Any

import torch

from finetune.adapter.blend import AdapterUse, Blend
from finetune.adapter.formats import write_adapter
from finetune.adapter.low_rank import LowRankAdapter
from finetune.adapter.probe import probe
from finetune.base_model import BaseModel, load_base
from finetune.base_model.stability.keys import DIT, rows_from_stability, rows_to_stability, stability_module
from tests.tools.adapters import adaptable, light_checkpoint, options, realistic_adapter

KINDS = ("lora", "dora", "dora-cols")
RANK = 8


def main() -> None:
    arguments = options("check_comfyui_loader", __doc__).parse_args()
    comfy = import_comfy(arguments.checkout)
    torch.set_num_threads(1)
    for name in arguments.geometry:
        with light_checkpoint(name) as folder:
            base = load_base(str(folder / name))
            base.release_encoders()
            for kind in KINDS:
                names = [module for module in adaptable(base) if module.startswith("transformer.")]
                adapter = realistic_adapter(base, kind, RANK, names)
                file = folder / f"{kind}.safetensors"
                write_adapter(adapter, "comfyui", file, torch.float16, base)
                print(f"{name:12} {kind:10} {compare(comfy, base, adapter, file)}")


def compare(comfy: Any, base: BaseModel, adapter: LowRankAdapter, file: Path) -> str:
    plain = probe(base)
    with Blend(base, [AdapterUse(adapter, "ours")]):
        ours = probe(base)
    patches = load_patches(comfy, base, adapter, file)
    originals, worst = {}, 0.0
    for module, part in adapter.modules.items():
        weight = base.trainable_parts.get_submodule(module).weight
        assert isinstance(weight, torch.Tensor)
        originals[module] = weight.detach().clone()
        differential = is_differential(base)
        key = comfy_key(module)
        theirs = rows_to_stability(module, originals[module].clone(), differential)
        theirs = comfy.lora.calculate_weight([(1.0, patches[key], 1.0, None, None)], theirs, key)
        patched = rows_from_stability(module, theirs, differential)
        merged = part.merged(originals[module])
        worst = max(worst, float((patched - merged).norm() / (merged - originals[module]).norm()))
        with torch.no_grad():
            weight.copy_(patched)
    theirs_predicted = probe(base)
    for module, original in originals.items():
        with torch.no_grad():
            base.trainable_parts.get_submodule(module).weight.copy_(original)  # type: ignore[operator, union-attr]
    effect = (ours - plain).norm()
    return json.dumps(
        {
            "modules": len(patches),
            "weights, of effect": f"{worst:.1e}",
            "predictions, of effect": f"{float((theirs_predicted - ours).norm() / effect):.1e}",
            "effect": f"{float(effect / plain.norm()):.2f}",
        }
    )


def load_patches(comfy: Any, base: BaseModel, adapter: LowRankAdapter, file: Path) -> dict[str, Any]:
    """ComfyUI's patches by key. ValueError unless each tensor is used and exactly our modules are patched."""
    keys = {comfy_key(module): None for module in adaptable(base) if module.startswith("transformer.")}
    model = types.SimpleNamespace(
        state_dict=lambda: keys, model_config=types.SimpleNamespace(unet_config={"audio_model": "dit1.0"})
    )
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        stored = comfy.utils.load_torch_file(str(file), safe_load=True)
        patches = comfy.lora.load_lora(stored, comfy.lora.model_lora_keys_unet(model, {}))
    finally:
        logging.getLogger().removeHandler(handler)
    wanted = {comfy_key(module) for module in adapter.modules}
    if told or patches.keys() != wanted:
        raise ValueError(f"{told[:3]}; {sorted(patches.keys() ^ wanted)[:3]}")
    return patches


def comfy_key(module: str) -> str:
    return f"diffusion_model.{stability_module(module).removeprefix(DIT)}.weight"


def is_differential(base: BaseModel) -> bool:
    return bool(base.transformer.config.use_differential_attention)


def import_comfy(checkout: Path) -> Any:
    """ComfyUI's package, with stand-ins for its model classes and device management, which the loader only names."""
    sys.path.insert(0, str(checkout))
    management = types.ModuleType("comfy.model_management")
    management.cast_to_device = lambda tensor, device, dtype, copy=False: tensor.to(  # type: ignore[attr-defined]
        device, dtype, copy=copy
    )
    models = types.ModuleType("comfy.model_base")
    models.__getattr__ = lambda name: type(name, (), {})  # type: ignore[method-assign, assignment]
    sys.modules |= {"comfy.model_management": management, "comfy.model_base": models}
    import comfy

    comfy.model_management, comfy.model_base = management, models
    import comfy.lora
    import comfy.utils

    return comfy


if __name__ == "__main__":
    main()
