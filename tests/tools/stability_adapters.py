"""Adapters of all eight types as Stability's own code saves them, with the weights that it makes of them, as a fixture.

    python -m tests.tools.stability_adapters CHECKOUT

CHECKOUT is a checkout of Stability-AI/stable-audio-3 (the fixture: commit 636f906). The model is a differential fused
self-attention of width 8 and a 1×1 convolution. One file holds, under `<type>/`, the tensors of the adapter's file,
`merged <module>` in float32, and the header's configuration; `weight <module>` are the weights without adapter.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from finetune.files import write_file

FIXTURE = Path(__file__).parents[1] / "finetune" / "fixtures" / "stability_adapters.safetensors"
TYPES = ("lora", "dora-rows", "dora-cols", "bora", "lora-xs", "dora-rows-xs", "dora-cols-xs", "bora-xs")
MODULES = ("model.transformer.layers.0.self_attn.to_qkv", "model.preprocess_conv")
WIDTH, CHANNELS, RANK, ALPHA = 8, 4, 2, 3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.stability_adapters", description=__doc__)
    parser.add_argument("checkout", type=Path)
    sys.path.insert(0, str(parser.parse_args().checkout))
    tensors: dict[str, torch.Tensor] = {}
    header = {}
    for kind in TYPES:
        model = small_model()
        tensors |= {f"weight {name}": model.get_submodule(name).weight.detach().clone() for name in MODULES}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "adapter.safetensors"
            save_adapter(model, kind, file)
            with safe_open(file, framework="pt") as stored:
                header[kind] = stored.metadata()["lora_config"]
                tensors |= {f"{kind}/{key}": stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        tensors |= {
            f"{kind}/merged {name}": model.get_submodule(name).weight.detach().clone() for name in MODULES
        }
    write_file(FIXTURE, save(tensors, metadata=header))
    print(f"{FIXTURE.name}: {len(tensors)} tensors, {FIXTURE.stat().st_size} bytes")


def small_model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Module()
    for name, module in zip(
        MODULES,
        (nn.Linear(WIDTH, 5 * WIDTH, bias=False), nn.Conv1d(CHANNELS, CHANNELS, 1, bias=False)),
        strict=True,
    ):
        *parents, last = name.split(".")
        place = model
        for parent in parents:
            if not hasattr(place, parent):
                place.add_module(parent, nn.Module())
            place = place.get_submodule(parent)
        place.add_module(last, module)
    return model


@torch.no_grad()
def save_adapter(model: Any, kind: str, file: Path) -> None:
    from stable_audio_3.models.lora import LoRAParametrization, add_lora, get_lora_layers, get_lora_state_dict
    from stable_audio_3.models.lora.utils import save_lora_safetensors

    options = {"rank": RANK, "lora_alpha": ALPHA, "adapter_type": kind}
    make = {nn.Linear: LoRAParametrization.from_linear, nn.Conv1d: LoRAParametrization.from_conv1d}
    add_lora(
        model, {layer: {"weight": partial(maker, **options)} for layer, maker in make.items()}, list(MODULES)
    )
    for _, layer in get_lora_layers(model):
        for role, value in layer.named_parameters():
            if role.startswith("magnitude"):
                value.mul_(1 + 0.1 * torch.randn(value.shape))
            elif role != "lora_A":
                value.copy_(0.3 * torch.randn(value.shape))
            value.copy_(value.half())  # what the file keeps
    config = {"rank": RANK, "alpha": ALPHA, "adapter_type": kind, "include": list(MODULES), "exclude": None}
    save_lora_safetensors(get_lora_state_dict(model), config, file)


if __name__ == "__main__":
    main()
