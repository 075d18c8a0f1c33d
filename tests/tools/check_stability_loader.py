"""Adapters between Woodshed and Stability's own program, both ways, on random weights of any geometry.

    python -m tests.tools.check_stability_loader CHECKOUT [GEOMETRY ...]

CHECKOUT is a checkout of Stability-AI/stable-audio-3, in an environment that has what its package imports, and
Woodshed. Out: an adapter on every module is written as Stability's file (fp16), their `load_and_apply_loras` puts it
on their model; every tensor of the file must be in the model, on the modules of the file and no others, and the
predictions must be ours. In: an adapter of each of their eight types, saved by their code, is read by ours. Errors
are relative to what the adapter changes. Autoencoder and text encoder, which no adapter changes, are tiny ones.
`medium` takes 12 GB of memory.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.nn.utils.parametrize import remove_parametrizations

from finetune.adapter.blend import AdapterUse, Blend
from finetune.adapter.formats import read_adapter, write_adapter
from finetune.base_model import BaseModel, load_base
from tests.tools import parity_ours, stability_outputs
from tests.tools.adapters import adaptable, light_checkpoint, options, realistic_adapter

OUT_KINDS = ("lora", "dora", "dora-cols", "bora")
IN_TYPES = ("lora", "dora-rows", "dora-cols", "bora", "lora-xs", "dora-rows-xs", "dora-cols-xs", "bora-xs")
ITEMS = ("velocity", "velocity inpainting")
RANK = 8


def main() -> None:
    parser = options("check_stability_loader", __doc__)
    parser.add_argument("--kinds", nargs="*", default=OUT_KINDS)
    parser.add_argument("--types", nargs="*", default=IN_TYPES)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.checkout))
    torch.set_num_threads(1)
    for name in arguments.geometry:
        with light_checkpoint(name) as folder:
            check_out(name, folder, arguments.kinds)
            if arguments.types:
                check_in(name, folder, arguments.types)


def check_out(name: str, folder: Path, kinds: list[str]) -> None:
    ours, plain = {}, {}
    base = loaded(folder / name)
    plain = predict_ours(name, base)
    for kind in kinds:
        adapter = realistic_adapter(base, kind, RANK, adaptable(base))
        write_adapter(adapter, "stable-audio-3", folder / f"{kind}.safetensors", torch.float16)
        with Blend(base, [AdapterUse(adapter, kind)]):
            ours[kind] = predict_ours(name, base)
    del base
    gc.collect()
    model = stability_outputs.load(folder / name)
    for kind in kinds:
        file = folder / f"{kind}.safetensors"
        put_on(model, file)
        used, layers = tensors_used(model, file), len(lora_layers(model))
        theirs = predict_theirs(name, model)
        take_off(model)
        print(
            f"{name:12} out {kind:12} {used} tensors in {layers} modules, error {error(ours[kind], theirs, plain)}"
        )


def check_in(name: str, folder: Path, types: list[str]) -> None:
    model = stability_outputs.load(folder / name)
    plain, theirs = predict_theirs(name, model), {}
    for kind in types:
        save_theirs(model, kind, folder / f"in-{kind}.safetensors")
        theirs[kind] = predict_theirs(name, model)
        take_off(model)
    del model
    gc.collect()
    base = loaded(folder / name)
    for kind in types:
        adapter = read_adapter(folder / f"in-{kind}.safetensors", base)
        with Blend(base, [AdapterUse(adapter, kind)]):
            ours = predict_ours(name, base)
        print(
            f"{name:12} in  {kind:12} {len(adapter.modules)} modules, error {error(theirs[kind], ours, plain)}"
        )


def loaded(folder: Path) -> BaseModel:
    base = load_base(str(folder))
    base.autoencoder = None
    return base


def put_on(model: Any, file: Path) -> None:
    from stable_audio_3.models.lora import load_and_apply_loras

    load_and_apply_loras(model, [str(file)], "diffusion_cond")


def lora_layers(model: Any) -> list[Any]:
    from stable_audio_3.models.lora import get_lora_layers

    return get_lora_layers(model.model) + get_lora_layers(model.conditioner)


def tensors_used(model: Any, file: Path) -> int:
    """How many tensors the file has. ValueError unless each is in the model and nothing else is adapted."""
    stored = load_file(file)
    states = model.model.state_dict() | model.conditioner.state_dict()
    lost = [
        key
        for key, value in stored.items()
        if key not in states or not torch.equal(states[key], value.float())
    ]
    extra = {name for name, _ in lora_layers(model)} ^ {key.split(".parametrizations.")[0] for key in stored}
    if lost or extra:
        raise ValueError(f"not used: {lost[:3]}; adapted without need: {sorted(extra)[:3]}")
    return len(stored)


def save_theirs(model: Any, kind: str, file: Path) -> None:
    """Their adapter of one type on the attention of every block and on the duration embedder, with something in it."""
    from functools import partial

    from stable_audio_3.models.lora import (
        LoRAParametrization,
        add_lora,
        get_lora_state_dict,
        save_lora_safetensors,
    )

    include = [
        "self_attn.to_qkv",
        "cross_attn.to_kv",
        "ff.ff.0.proj",
        "preprocess_conv",
        "seconds_total.embedder",
    ]
    options = {"rank": RANK, "lora_alpha": 12, "adapter_type": kind}
    config = {
        torch.nn.Linear: {"weight": partial(LoRAParametrization.from_linear, **options)},
        torch.nn.Conv1d: {"weight": partial(LoRAParametrization.from_conv1d, **options)},
    }
    draw = torch.Generator().manual_seed(5)
    for part in (model.model, model.conditioner):
        add_lora(part, config, include=include)
    for _, layer in lora_layers(model):
        rank = torch.tensor(float(RANK))
        for role, value in layer.named_parameters():
            if role.startswith("magnitude"):
                value.data *= 1 + 0.05 * torch.randn(value.shape, generator=draw)
                value.data = value.data.half().float()
            elif role in ("lora_B", "M_xs"):
                value.data = (torch.randn(value.shape, generator=draw) * 0.1 / rank.sqrt()).half().float()
            else:
                value.data = value.data.half().float()
    state = get_lora_state_dict(model.model) | get_lora_state_dict(model.conditioner)
    save_lora_safetensors(
        state, {"rank": RANK, "alpha": 12, "adapter_type": kind, "include": include, "exclude": None}, file
    )


def take_off(model: Any) -> None:
    """Their own remove_lora changes a dictionary while it goes through it."""
    for name, _ in lora_layers(model):
        part = model.conditioner if name.startswith("conditioners.") else model.model
        remove_parametrizations(part.get_submodule(name), "weight", leave_parametrized=False)


def predict_ours(name: str, base: BaseModel) -> dict[str, torch.Tensor]:
    return {item: value for item, value in parity_ours.dit(name, base).items() if item in ITEMS}


@torch.no_grad()
def predict_theirs(name: str, model: Any) -> dict[str, torch.Tensor]:
    return {item: value for item, value in stability_outputs.dit(name, model).items() if item in ITEMS}


def error(
    one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], plain: dict[str, torch.Tensor]
) -> str:
    """The largest over the items, relative to the effect, and the effect relative to the prediction."""
    effects = {item: float((one[item] - plain[item]).norm()) for item in ITEMS}
    worst = max(float((one[item] - other[item]).norm()) / effects[item] for item in ITEMS)
    return json.dumps(
        {"of effect": f"{worst:.1e}", "effect": f"{effects[ITEMS[0]] / plain[ITEMS[0]].norm():.2f}"}
    )


if __name__ == "__main__":
    main()
