"""Woodshed's answers to `parity_cases`, under the names and in the row order of `stability_outputs`."""

from __future__ import annotations

import itertools
import re

import torch
from peft import LoraConfig

from finetune.adapter.attach import Adapter, inject
from finetune.base_model import BaseModel, Conditions
from finetune.base_model.stability.keys import module_of, rows_from_stability, rows_to_stability
from finetune.batches import Batch
from finetune.generate import Request, make_conditions, sample
from finetune.given import GivenLatents
from finetune.loss import batch_loss
from finetune.objective import pair_noise
from finetune.sampling import guide, schedule
from tests.tools import parity_cases as cases
from tests.tools.parity_cases import ADAPTED, ALPHA, RANK
from tests.tools.stability_geometry import GEOMETRIES

Outputs = dict[str, torch.Tensor]
_WEIGHTS = {"lora_A.weight": "lora_A", "lora_B.weight": "lora_B", "lora_magnitude_vector.weight": "magnitude"}


def outputs(name: str, base: BaseModel) -> Outputs:
    """All items of one geometry."""
    items = dit(name, base) | autoencoder(name, base)
    if cases.is_tiny(name):
        items |= sampling(name, base)
    return items | training(name, base, "lora") | training(name, base, "dora")


def dit(name: str, base: BaseModel) -> Outputs:
    ask = cases.ask(name)
    prompts = [base.encode_prompt(text) for text in ask.prompts]
    seconds = torch.tensor(ask.seconds)
    conditions = Conditions(prompts, seconds)
    kept = Conditions(prompts, seconds, None, ask.kept_mask, ask.latents * ask.kept_mask)
    dropped = Conditions(prompts, seconds, torch.ones(len(prompts), dtype=torch.bool))
    with torch.no_grad():
        duration = base.duration_embedder(seconds)
        return {
            "duration": duration,
            "context": base._context(conditions, duration),
            "velocity": base.velocity(ask.x, ask.t, conditions),
            "velocity inpainting": base.velocity(ask.x, ask.t, kept),
            "velocity unconditional": base.velocity(ask.x, ask.t, dropped),
        }


def autoencoder(name: str, base: BaseModel) -> Outputs:
    items = {}
    for frames in (*cases.whole_frames(name), cases.CHUNKED_FRAMES[name]):
        items[f"encode {frames}"] = base.encode_audio(cases.audio(name, frames))
        items[f"decode {frames}"] = base.decode_latents(cases.latents(name, frames))
    return items


@torch.no_grad()
def sampling(name: str, base: BaseModel) -> Outputs:
    ask = cases.generation(name)
    told = base.seconds_to_frames(ask.seconds[0])
    items = {
        f"times {steps} from {noise}": schedule(steps, lambda t: base.sampling_shift.shifted(t, told), noise)
        for steps, noise in cases.SCHEDULES
    }
    items["guided"] = _guided(base, ask, 4.0, None)
    items["guided away"] = _guided(base, ask, 3.0, cases.NEGATIVE)
    items["euler 50"] = _generate(base, ask, "euler", 50, 4.0)
    items["euler 9 away, kept"] = _generate(base, ask, "euler", 9, 3.0, negative=cases.NEGATIVE, keep=True)
    items["euler 9 from sound"] = _generate(base, ask, "euler", 9, 4.0, noise=0.7)
    items["pingpong 8"] = _generate(base, ask, "pingpong", 8, 1.0)
    items["pingpong 8 from sound, kept"] = _generate(base, ask, "pingpong", 8, 1.0, noise=0.4, keep=True)
    items["dpmpp 8"] = _generate(base, ask, "dpmpp", 8, 4.0)
    return items


def _guided(base: BaseModel, ask: cases.Ask, guidance: float, negative: str | None) -> torch.Tensor:
    conditions = _conditions(base, ask, Request("", ask.seconds[0], guidance=guidance), negative)
    asked, free = base.velocity(ask.x.repeat(2, 1, 1), ask.t.repeat(2), conditions).chunk(2)
    return guide(ask.x, ask.t[:, None, None], asked, free, guidance)


def _generate(
    base: BaseModel,
    ask: cases.Ask,
    sampler: str,
    steps: int,
    guidance: float,
    negative: str | None = None,
    noise: float = 1.0,
    keep: bool = False,
) -> torch.Tensor:
    request = Request("", ask.seconds[0], steps=steps, guidance=guidance, sampler=sampler)
    given = GivenLatents(ask.latents[0], noise, ask.kept_mask[0, 0].bool() & keep)
    noises = itertools.chain([ask.x], cases.fresh_noises(ask.x.shape))
    conditions = _conditions(base, ask, request, negative, given)
    return sample(base, conditions, request, lambda: next(noises), given=given)


def _conditions(
    base: BaseModel, ask: cases.Ask, request: Request, negative: str | None, given: GivenLatents | None = None
) -> Conditions:
    prompts = [base.encode_prompt(text) for text in ask.prompts]
    against = None if negative is None else base.encode_prompt(negative)
    return make_conditions(base, prompts, request, against, given)


def training(name: str, base: BaseModel, kind: str) -> Outputs:
    """Loss and adapter gradients of a step; the base is left without adapter."""
    adapter = _adapter(name, base, kind)
    loss = batch_loss(base, batch(name, base))
    loss.backward()
    items = {f"{kind} loss": loss.detach().reshape(1)}
    differential = GEOMETRIES[name].differential
    for key, parameter in adapter.named_parameters().items():
        module, weight = _split(key)
        gradient = parameter.grad
        if weight != "lora_A":
            gradient = rows_to_stability(module, gradient, differential)
        theirs = ADAPTED_BY_MODULE[module]
        items[f"{kind} gradient {theirs} {weight}"] = cases.comparable(theirs, weight, gradient)
    for module in ADAPTED_BY_MODULE:
        base.trainable_parts.set_submodule(
            module, base.trainable_parts.get_submodule(module).get_base_layer()
        )
    return items


def batch(name: str, base: BaseModel) -> Batch:
    step = cases.step(name)
    frames = torch.tensor([base.seconds_to_frames(seconds) for seconds in step.seconds])
    conditions = Conditions(
        prompts=[base.encode_prompt(text) for text in step.prompts],
        seconds=torch.tensor(step.seconds),
        dropped=step.dropped,
        kept_mask=step.kept_mask,
        kept_latents=step.latents * step.kept_mask,
    )
    noise = pair_noise(step.latents, step.noise)
    return Batch(step.latents, noise, base.training_shift.shifted(step.t, frames), conditions)


ADAPTED_BY_MODULE = {module_of(theirs): theirs for theirs in ADAPTED}


def _adapter(name: str, base: BaseModel, kind: str) -> Adapter:
    modules: dict[str, list[str]] = {"transformer": [], "duration_embedder": []}
    for module in ADAPTED_BY_MODULE:
        part, rest = module.split(".", 1)
        modules[part].append(re.escape(rest))
    configs = {
        part: LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="|".join(names), use_dora=kind == "dora")
        for part, names in modules.items()
    }
    adapter = inject(base, configs)
    for key, parameter in adapter.named_parameters().items():
        module, weight = _split(key)
        inputs, outputs = _sizes(base, module)
        value = cases.adapter_weights(name, ADAPTED_BY_MODULE[module], inputs, outputs)[weight]
        if weight != "lora_A":
            value = rows_from_stability(module, value, GEOMETRIES[name].differential)
        with torch.no_grad():
            parameter.copy_(parameter * value if weight == "magnitude" else value)
    return adapter


def _split(key: str) -> tuple[str, str]:
    """Module and Stability's name of the weight, of a key of `Adapter.named_parameters`."""
    for ours, theirs in _WEIGHTS.items():
        if key.endswith(f".{ours}"):
            return key.removesuffix(f".{ours}"), theirs
    raise KeyError(key)


def _sizes(base: BaseModel, module: str) -> tuple[int, int]:
    layer = base.trainable_parts.get_submodule(module)
    return layer.in_features, layer.out_features
