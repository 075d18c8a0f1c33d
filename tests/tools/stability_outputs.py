"""Stability's own code on random weights: what it answers to each of `parity_cases`. Imports a checkout of theirs.

Off, because it is random: the noise that SAME adds to its mask tokens (`mask_noise`) and to the latents it decodes
(`noise_regularize`). Sliding-window attention takes its plain way (scaled_dot_product_attention with a mask, in blocks
of 1024), not flex_attention's compiled kernels. Random draws of a training step are replaced by the ones of the case.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from safetensors import safe_open
from torch.nn.utils.parametrize import remove_parametrizations

from tests.tools import parity_cases as cases
from tests.tools.parity_cases import ADAPTED, ALPHA, RANK

Outputs = dict[str, torch.Tensor]


def load(folder: Path) -> Any:
    """Stability's model with the folder's weights in float32, every key used, its text encoder read from the folder."""
    from stable_audio_3.factory import create_diffusion_cond_from_config
    from stable_audio_3.models import transformer

    transformer.flex_attention_available = False
    config = json.loads((folder / "model_config.json").read_text())
    prompt = config["model"]["conditioning"]["configs"][0]["config"]
    prompt["model_path"] = str(folder)
    model = create_diffusion_cond_from_config(config)
    state = model.state_dict()
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        keys = set(file.keys())
        if keys != state.keys():
            raise ValueError(f"keys differ: {sorted(keys ^ state.keys())[:5]}")
        for key in keys:
            state[key].copy_(file.get_tensor(key))
    autoencoder = model.pretransform.model
    for block in (autoencoder.encoder.layers[0], autoencoder.decoder.layers[3]):
        block.mask_noise = 0
    autoencoder.bottleneck.noise_regularize = False
    model.conditioner.conditioners["prompt"].model.float()
    return model.eval().requires_grad_(False)


def outputs(name: str, model: Any) -> Outputs:
    """All items of one geometry. The training steps come last: they change the model."""
    with torch.no_grad():
        items = dit(name, model) | autoencoder(name, model)
        if cases.is_tiny(name):
            items |= sampling(model, name)
    items |= training(name, model, "lora")
    return items | training(name, model, "dora-rows")


def conditioning(model: Any, ask: Any, kept_mask: torch.Tensor) -> dict[str, Any]:
    return model.conditioner(cases.told(ask.prompts, ask.seconds), "cpu") | _local(ask, kept_mask)


def _local(ask: cases.Ask, kept_mask: torch.Tensor) -> dict[str, Any]:
    return {"inpaint_mask": [kept_mask], "inpaint_masked_input": [ask.latents * kept_mask]}


def dit(name: str, model: Any) -> Outputs:
    ask = cases.ask(name)
    free = conditioning(model, ask, torch.zeros_like(ask.kept_mask))
    kept = conditioning(model, ask, ask.kept_mask)
    return {
        "duration": free["seconds_total"][0].squeeze(1),
        "context": model.get_conditioning_inputs(free)["cross_attn_cond"],
        "velocity": model(ask.x, ask.t, free),
        "velocity inpainting": model(ask.x, ask.t, kept),
        "velocity unconditional": model(ask.x, ask.t, free, cfg_dropout_prob=1.0),
    }


def autoencoder(name: str, model: Any) -> Outputs:
    """Encoded and decoded whole, and in chunks of 128 latents with 32 of overlap."""
    same, ratio = model.pretransform.model, model.pretransform.downsampling_ratio
    items = {}
    for frames in (*cases.whole_frames(name), cases.CHUNKED_FRAMES[name]):
        chunked = frames > 128
        audio = cases.audio(name, frames)
        audio = torch.nn.functional.pad(audio, (0, frames * ratio - audio.shape[-1]))
        items[f"encode {frames}"] = same.encode_audio(audio, chunked=chunked)[..., :frames]
        sound = same.decode_audio(cases.latents(name, frames), chunked=chunked)
        items[f"decode {frames}"] = sound[..., : frames * ratio].clamp(-1, 1)
    return items


def sampling(model: Any, name: str) -> Outputs:
    """Times, guidance, and whole generations with the noise of the case."""
    from stable_audio_3.inference.sampling import build_schedule

    ask = cases.generation(name)
    free = model.get_conditioning_inputs(conditioning(model, ask, torch.zeros_like(ask.kept_mask)))
    kept = model.get_conditioning_inputs(conditioning(model, ask, ask.kept_mask))
    against = model.conditioner(cases.told([cases.NEGATIVE] * len(ask.prompts), ask.seconds), "cpu")
    negative = model.get_conditioning_inputs(against | _local(ask, ask.kept_mask), negative=True)
    items = {}
    for steps, noise in cases.SCHEDULES:
        times = build_schedule(
            steps, sigma_max=noise, dist_shift=model.sampling_dist_shift, fallback_seq_len=21
        )
        items[f"times {steps} from {noise}"] = times
    items["guided"] = model.model(ask.x, ask.t, **free, cfg_scale=4.0)
    items["guided away"] = model.model(ask.x, ask.t, **(free | negative), cfg_scale=3.0)
    items["euler 50"] = _sample(model, ask, free, 50, "euler", cfg_scale=4.0)
    items["euler 9 away, kept"] = _sample(model, ask, kept | negative, 9, "euler", cfg_scale=3.0)
    items["euler 9 from sound"] = _sample(
        model, ask, free, 9, "euler", cfg_scale=4.0, init_data=ask.latents, init_noise_level=0.7
    )
    items["pingpong 8"] = _sample(model, ask, free, 8, "pingpong")
    items["pingpong 8 from sound, kept"] = _sample(
        model, ask, kept, 8, "pingpong", init_data=ask.latents, init_noise_level=0.4
    )
    items["dpmpp 8"] = _sample(model, ask, free, 8, "dpmpp", cfg_scale=4.0)
    return items


def _sample(
    model: Any, ask: cases.Ask, told: dict[str, Any], steps: int, sampler: str, **options: Any
) -> torch.Tensor:
    from stable_audio_3.inference.sampling import sample_diffusion

    fresh = iter(cases.fresh_noises(ask.x.shape))
    with mock.patch.object(torch, "randn_like", lambda x: next(fresh)):
        return sample_diffusion(
            model.model,
            ask.x,
            told,
            model.diffusion_objective,
            steps,
            sampler_type=sampler,
            conditioning=cases.told(ask.prompts, ask.seconds),
            sample_rate=model.sample_rate,
            pretransform=model.pretransform,
            mask_padding_attention=True,
            use_effective_length_for_schedule=True,
            dist_shift=model.sampling_dist_shift,
            disable_tqdm=True,
            decode=False,
            **options,
        )


def training(name: str, model: Any, adapter_type: str) -> Outputs:
    """Loss and adapter gradients of Stability's own training step, with the draws of the case."""
    from stable_audio_3.training.diffusion import DiffusionCondTrainingWrapper

    step = cases.step(name)
    parts = {"model": model.model, "conditioner": model.conditioner}
    wrapper = DiffusionCondTrainingWrapper(
        model,
        lr=1e-4,
        mask_loss_weight=1.0,
        pre_encoded=True,
        cfg_dropout_prob=0.1,
        timestep_sampler="trunc_logit_normal",
        inpainting_config={},
        sample_rate=model.sample_rate,
        ot_coupling=True,
        lora_config={
            "rank": RANK,
            "alpha": ALPHA,
            "adapter_type": adapter_type,
            "include": [module.split(".", 1)[1] for module in ADAPTED],
        },
    )
    wrapper.trainer = SimpleNamespace(optimizers=[SimpleNamespace(param_groups=[{"lr": 1e-4}])])
    adapters = {module: _adapter(parts, module) for module in ADAPTED}
    for module, adapter in adapters.items():
        values = cases.adapter_weights(name, module, adapter.lora_A.shape[1], adapter.lora_B.shape[0])
        adapter.lora_A.data.copy_(values["lora_A"])
        adapter.lora_B.data.copy_(values["lora_B"])
        if adapter_type == "dora-rows":
            adapter.magnitude.data.mul_(values["magnitude"])
    with _drawn(step):
        loss = wrapper.training_step((step.latents, cases.told(step.prompts, step.seconds)), 0)
    loss.backward()
    kind = adapter_type.removesuffix("-rows")
    items = {f"{kind} loss": loss.detach().reshape(1)}
    for module, adapter in adapters.items():
        for weight, parameter in adapter.named_parameters():
            gradient = cases.comparable(module, weight, parameter.grad)
            items[f"{kind} gradient {module} {weight}"] = gradient.clone()
    _remove_adapters(parts)
    return items


def _adapter(parts: dict[str, Any], module: str) -> Any:
    part, rest = module.split(".", 1)
    return parts[part].get_submodule(rest).parametrizations.weight[0]


def _remove_adapters(parts: dict[str, Any]) -> None:
    for name in ADAPTED:
        part, rest = name.split(".", 1)
        remove_parametrizations(parts[part].get_submodule(rest), "weight", leave_parametrized=False)
    for part in parts.values():
        part.requires_grad_(False)


def _drawn(step: cases.Step) -> Any:
    """The names through which Stability's training step draws, bound to the numbers of the case."""
    from stable_audio_3.training import diffusion

    fixed: dict[tuple[Any, str], Callable[..., torch.Tensor | tuple[torch.Tensor, torch.Tensor]]] = {
        (diffusion, "truncated_logistic_normal_rescaled"): lambda count: 1 - step.t,
        (diffusion, "random_inpaint_mask"): lambda x, **_: (x * step.kept_mask, step.kept_mask),
        (torch, "randn_like"): lambda x: step.noise,
        (torch, "bernoulli"): lambda p: step.dropped.float().reshape(p.shape),
    }
    patches = contextlib.ExitStack()
    for (owner, attribute), value in fixed.items():
        patches.enter_context(mock.patch.object(owner, attribute, value))
    return patches
