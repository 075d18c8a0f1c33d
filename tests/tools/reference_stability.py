"""Stability's own model and adapter code in the contest of `reference_speed`, set up as its trainer sets it up.

That is: every block is checkpointed, the frozen base in bfloat16 under autocast (`bf16`; their Lightning trainer's
`bf16-mixed`) or everything in float32 (`fp32`), adapters as parametrizations in float32, AdamW with its defaults, no
clipping of gradients, padding masked. Left out are conditioning dropout and inpainting masks, which cost nothing, and
the parts that are not trained: autoencoder and text encoder. Needs einops and packaging beside PyTorch.

A processor without instructions for bfloat16 takes an hour for such a step. With `lend_products` the operands of each
product are turned to float32 for it and the result back, which is faster than anything bfloat16 could be there and
leaves what is kept in memory as it is.
"""

from __future__ import annotations

import contextlib
import json
import sys
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors import safe_open
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from tests.tools.reference_case import Contestant, Task, make_case, read_config

PACKAGE = "stable_audio_3"
ADAPTER_TYPES = {"lora": "lora", "dora": "dora-rows"}
OPTIMIZER = {"lr": 1e-4, "weight_decay": 0.01, "betas": (0.9, 0.95)}


def set_up() -> None:
    """As their trainer does."""
    torch.set_float32_matmul_precision("high")


def import_package(checkout: str) -> None:
    """The package without its own first lines, which import the whole program with everything that it needs."""
    package = ModuleType(PACKAGE)
    package.__path__ = [str(Path(checkout).resolve() / PACKAGE)]
    sys.modules[PACKAGE] = package
    import stable_audio_3.models.diffusion
    import stable_audio_3.models.lora  # noqa: F401


def prepare(task: Task, device: torch.device) -> Contestant:
    config = read_config(task.folder)
    half = task.base == "bf16"
    model = _model(config, task.folder, device)
    if half:
        model.to(torch.bfloat16)
    parameters = _add_adapters(model, task, half)
    case = make_case(task)
    text = model.conditioner.conditioners["prompt"]
    places = config["model"]["conditioning"]["configs"][0]["config"]["max_length"]
    tokens = torch.zeros(1, places, case.tokens.shape[1], device=device)
    tokens[0, : len(case.tokens)] = case.tokens
    is_real = (torch.arange(places, device=device) < len(case.tokens))[None]
    latents, noise, t = (value.to(device) for value in (case.latents, case.noise, case.t))
    lent = Float32Products() if half and task.lend_products else contextlib.nullcontext()
    everything = torch.ones(1, task.frames, dtype=torch.bool, device=device)
    kept_mask = torch.zeros(1, 1, task.frames, device=device)  # everything is to be made

    def loss() -> torch.Tensor:
        with lent, torch.autocast(device.type, torch.bfloat16, enabled=half):
            told = {
                "prompt": [text.apply_padding(tokens, is_real), is_real],
                "seconds_total": model.conditioner.conditioners["seconds_total"]([case.seconds], device),
                "inpaint_mask": [kept_mask],
                "inpaint_masked_input": [latents * kept_mask],
            }
            noisy = (1 - t[:, None, None]) * latents + t[:, None, None] * noise
            predicted = model(noisy, t, cond=told, padding_mask=everything)
            return torch.nn.functional.mse_loss(predicted, noise - latents)

    optimizer = torch.optim.AdamW(parameters, **OPTIMIZER)
    return Contestant(loss, parameters, optimizer, longest_gradient=None, products=lent)


class Float32Products(TorchDispatchMode):
    """Within it products of bfloat16 tensors are computed in float32."""

    ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
    PRODUCTS = (
        torch.ops.aten.mm.default,
        torch.ops.aten.addmm.default,
        torch.ops.aten.bmm.default,
        torch.ops.aten.convolution.default,
        torch.ops.aten.convolution_backward.default,
        ATTENTION,
        torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default,
    )

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function not in self.PRODUCTS or not _any_half(args):
            return function(*args, **kwargs)
        results = function(*tree_map_only(torch.Tensor, _single, args), **kwargs)
        if function is self.ATTENTION:  # its second answer, the logarithms of sums, is float32 anyway
            return results[0].bfloat16(), results[1]
        return tree_map_only(torch.Tensor, _half, results)


def _any_half(args: Any) -> bool:
    return any(isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16 for value in args)


def _single(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.dtype == torch.bfloat16 else value


def _half(value: torch.Tensor) -> torch.Tensor:
    return value.bfloat16() if value.dtype == torch.float32 else value


def _model(config: dict[str, Any], folder: str, device: torch.device) -> Any:
    """Diffusion transformer and duration embedder with the folder's weights in float32, frozen."""
    from stable_audio_3.models.conditioners import Conditioner, MultiConditioner, NumberConditioner
    from stable_audio_3.models.diffusion import ConditionedDiffusionModelWrapper, DiTWrapper

    sizes, diffusion = config["model"], config["model"]["diffusion"]
    width, objective = sizes["conditioning"]["cond_dim"], diffusion["diffusion_objective"]
    conditioners = {
        "prompt": Conditioner(width, width, padding_mode="learned"),
        "seconds_total": NumberConditioner(width, **sizes["conditioning"]["configs"][1]["config"]),
    }
    model = ConditionedDiffusionModelWrapper(
        DiTWrapper(objective, **diffusion["config"]),
        MultiConditioner(conditioners),
        sizes["io_channels"],
        config["sample_rate"],
        min_input_length=1,
        diffusion_objective=objective,
        mask_padding_attention=True,
        cross_attn_cond_ids=diffusion["cross_attention_cond_ids"],
        global_cond_ids=diffusion["global_cond_ids"],
        local_add_cond_ids=diffusion["local_add_cond_ids"],
    ).to(device)
    with safe_open(Path(folder) / "model.safetensors", framework="pt") as file, torch.no_grad():
        stored = {key for key in file.keys() if not key.startswith("pretransform.")}  # noqa: SIM118
        state = model.state_dict()
        if stored != state.keys():
            raise ValueError(f"keys differ: {sorted(stored ^ state.keys())[:5]}")
        for key, value in state.items():
            value.copy_(file.get_tensor(key))
    return model.eval().requires_grad_(False)


def _add_adapters(model: Any, task: Task, half: bool) -> list[torch.nn.Parameter]:
    """Adapters on the very layers that Woodshed's contestant named. ValueError where they came to lie elsewhere."""
    from stable_audio_3.models.lora import (
        LoRAParametrization,
        add_lora,
        cast_base_to_precision,
        get_lora_layers,
        get_lora_params,
    )

    options = {
        "rank": task.rank,
        "lora_alpha": task.rank,
        "adapter_type": ADAPTER_TYPES[task.adapter],
    }
    kinds = {
        torch.nn.Linear: {"weight": partial(LoRAParametrization.from_linear, **options)},
        torch.nn.Conv1d: {"weight": partial(LoRAParametrization.from_conv1d, **options)},
    }
    wanted, found, parameters = set(json.loads(task.names_file.read_text())), set(), []
    for prefix, part in (("model.", model.model), ("conditioner.", model.conditioner)):
        include = [name.removeprefix(prefix) for name in wanted if name.startswith(prefix)]
        add_lora(part, kinds, include=include)
        if half:
            cast_base_to_precision(part, "bf16")
        found |= {prefix + name for name, _ in get_lora_layers(part)}
        parameters += get_lora_params(part)
    if found != wanted:
        raise ValueError(f"adapted otherwise: {sorted(found ^ wanted)[:5]}")
    return parameters
