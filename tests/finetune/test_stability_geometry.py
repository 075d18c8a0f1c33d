"""What a model_config.json says, and what is refused because it would be another model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from finetune.base_model.stability.geometry import geometry_of
from finetune.base_model.stability.same_geometry import Chunks
from finetune.base_model.stability.shift import TRAINING_SHIFT, TimeShift, sampling_shift, training_shift
from finetune.errors import WoodshedError
from tests.tools.stability_geometry import GEOMETRIES, model_config

# Parameters in millions, as published.
SIZES = {"small": (459.1, 108.2), "medium": (1453.2, 852.1)}
DIT = "model.diffusion.config"
SAME = "model.pretransform.config"
OTHERS: dict[str, Any] = {
    "model_type": "autoencoder",
    "model.diffusion.diffusion_objective": "v",
    "model.diffusion.prepend_cond_ids": ["seconds_total"],
    "model.diffusion.cross_attention_cond_ids": ["prompt"],
    "model.diffusion.modular_local_cond_configs": [{"id": "melody", "dim": 8}],
    f"{DIT}.global_cond_type": "prepend",
    f"{DIT}.timestep_features_type": "learned",
    f"{DIT}.norm_type": "layer_norm",
    f"{DIT}.patch_size": 2,
    f"{DIT}.num_heads": 7,
    f"{DIT}.num_memory_tokens": None,
    f"{DIT}.attn_kwargs.qk_norm": "ln",
    f"{DIT}.attn_kwargs.feat_scale": True,
    f"{DIT}.ff_kwargs.glu": False,
    f"{DIT}.conformer": True,
    f"{DIT}.depth": "many",
    f"{DIT}.something_new": 1,
    f"{SAME}.encoder.config.dyt": False,
    f"{SAME}.encoder.config.c_mults": [4, 4],
    f"{SAME}.decoder.config.chunk_size": 64,
    f"{SAME}.decoder.config.sinusoidal_blocks": "many",
    f"{SAME}.encoder.config.strides": [0],
    f"{SAME}.decoder.config.transformer_depths": [7],
    f"{SAME}.decoder.soft_clip": True,
    f"{SAME}.bottleneck.type": "vae",
    f"{SAME}.downsampling_ratio": 2048,
    f"{SAME}.latent_dim": 64,
    "model.conditioning.configs": [],
    "model.conditioning.cond_dim": 512,
    "model.diffusion": None,
}


def config(name: str = "small", **changes: Any) -> dict[str, Any]:
    """A published configuration with dotted keys set, or removed by None."""
    whole = copy.deepcopy(model_config(GEOMETRIES[name], "rectified_flow"))
    for key, value in changes.items():
        *path, last = key.split(".")
        section = whole
        for step in path:
            section = section.setdefault(step, {})
        section[last] = value
    return whole


@pytest.mark.parametrize(("name", "sizes"), SIZES.items())
def test_published_sizes(name: str, sizes: tuple[float, float]) -> None:
    from diffusers import AutoencoderSAME, StableAudio3DiTModel

    geometry = geometry_of(config(name))
    with torch.device("meta"):
        parts: list[Any] = [
            StableAudio3DiTModel(**geometry.transformer),
            AutoencoderSAME(**geometry.autoencoder),
        ]
    # The text's padding embedding is counted with the conditioners, the decoder's wider mapping not by diffusers.
    counts = [sum(p.numel() for p in part.parameters()) / 1e6 for part in parts]
    assert counts == pytest.approx(sizes, abs=0.9)
    assert geometry.autoencoder["sampling_rate"] == 44100
    assert (geometry.norm_epsilon, geometry.query_key_epsilon) == (1e-5, 1e-6)


def test_what_tells_the_family_apart() -> None:
    small, medium = geometry_of(config("small")), geometry_of(config("medium"))
    assert small.chunks == Chunks(chunk_size=32, midpoint_shift=True, encoder_taps=1, decoder_taps=3)
    assert medium.chunks is None and medium.autoencoder["sliding_window"] == 1
    assert not small.transformer["use_differential_attention"]
    assert medium.transformer["use_differential_attention"]
    tiny = geometry_of(config("tiny-medium"))
    assert (tiny.prompt_tokens, tiny.duration_embedder["max_val"]) == (256, 512)
    assert tiny.rotary_channels == 32, "32 channels are turned even of a head of 32"


@pytest.mark.parametrize("key", OTHERS)
def test_another_model_is_refused_by_the_name_of_what_is_other(key: str) -> None:
    with pytest.raises(WoodshedError, match=r"model_config.json has") as refused:
        geometry_of(config(**{key: OTHERS[key]}))
    assert key.rsplit(".", 1)[-1] in str(refused.value)


@pytest.mark.parametrize("other", [None, [], "text", {"model_type": "diffusion_cond_inpaint"}])
def test_what_is_no_configuration_is_a_sentence(other: Any) -> None:
    with pytest.raises(WoodshedError, match=r"model_config.json has"):
        geometry_of(other)


@pytest.mark.parametrize("name", ["../../etc", "/etc", "..", "a/b"])
def test_a_text_encoders_folder_cannot_lead_elsewhere(name: str) -> None:
    whole = config()
    whole["model"]["conditioning"]["configs"][0]["config"]["subfolder"] = name
    with pytest.raises(WoodshedError, match="a plain name"):
        geometry_of(whole)


def test_what_changes_nothing_is_let_pass() -> None:
    """Switches of training and of speed, which published configurations carry."""
    changes = {
        f"{DIT}.zero_init_branch_outputs": True,
        f"{DIT}.norm_kwargs": {"force_fp32": True},
        f"{SAME}.encoder.config.use_flash": True,
        f"{SAME}.decoder.config.checkpointing": True,
        f"{SAME}.encoder.requires_grad": False,
        "model.diffusion.mask_padding_attention": True,
        "training": {"anything": 1},
    }
    assert geometry_of(config(**changes)) == geometry_of(config())


def test_defaults_are_those_of_stabilitys_code() -> None:
    whole = config("medium")
    for section, key in (
        (DIT, "timestep_features_dim"),
        (DIT, "transformer_type"),
        (DIT, "ff_kwargs"),
        (SAME, "in_channels"),
    ):
        part = whole
        for step in section.split("."):
            part = part[step]
        part.pop(key, None)
    assert geometry_of(whole) == geometry_of(config("medium"))


def test_sampling_times_by_default_are_even_in_log_snr() -> None:
    t = torch.linspace(1, 0, 9)
    times = sampling_shift(None).shifted(t, frames=300)
    log_snr = torch.log((1 - times[1:-1]) / times[1:-1])
    torch.testing.assert_close(log_snr, torch.linspace(-6.2, 2.0, 9)[1:-1])
    assert times[0] == 1 and times[-1] == 0
    assert torch.equal(times, sampling_shift(None).shifted(t, frames=4000)), "whatever the length"


def test_log_snr_falls_by_the_rate_with_each_doubling() -> None:
    shift = sampling_shift({"type": "logsnr", "rate": 1.5})
    noisy = torch.tensor([0.999999])
    starts = [torch.log((1 - s) / s) for s in (shift.shifted(noisy, 2000), shift.shifted(noisy, 4000))]
    assert float(starts[0] - starts[1]) == pytest.approx(1.5, abs=1e-2)


def test_other_shifts_follow_their_closed_forms() -> None:
    t = torch.tensor([0.25, 0.5, 0.9])
    assert torch.equal(sampling_shift({"type": "none"}).shifted(t, 700), t)
    flux = sampling_shift({"type": "flux", "alpha_min": 4.0, "alpha_max": 4.0})
    torch.testing.assert_close(flux.shifted(t, 700), 4 * t / (1 + 3 * t))
    full = sampling_shift({"base_shift": 0.5, "max_shift": 1.15})  # no type is this one
    odds = t / (1 - t) * torch.exp(torch.tensor(0.5))  # at the shortest length
    torch.testing.assert_close(full.shifted(t, 10), odds / (1 + odds))


@pytest.mark.parametrize("options", [{"type": "cosine"}, {"type": "flux", "rate": 1}, {"max_shift": "1"}])
def test_unknown_shifts_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(WoodshedError, match="spaces the times"):
        sampling_shift(options)


def test_a_shift_is_complete() -> None:
    assert sampling_shift(None) == sampling_shift({"type": "logsnr", "rate": 0.0})


def test_a_base_says_how_its_training_times_are_moved() -> None:
    """The published bases by length; a configuration without it leaves them where they were drawn."""
    published, other, none = config("small"), config("small"), config("small")
    diffusion = other["model"]["diffusion"]
    diffusion["distribution_shift_options"] |= {"max_shift": 2.0}
    del none["model"]["diffusion"]["distribution_shift_options"]
    assert geometry_of(published).training_shift == TRAINING_SHIFT == training_shift({"type": "full"})
    assert geometry_of(other).training_shift.numbers["max_shift"] == 2.0
    assert geometry_of(none).training_shift == TimeShift("none", {})


@pytest.mark.parametrize("kind", ["full", "flux", "logsnr", "none"])
def test_clips_of_one_batch_are_moved_each_by_its_length(kind: str) -> None:
    numbers = {"alpha_min": 1.5, "alpha_max": 6.0} if kind == "flux" else {}
    shift = training_shift({"type": kind, **numbers})
    t, frames = torch.tensor([0.2, 0.7, 0.7, 0.9]), torch.tensor([10, 300, 2500, 9000])
    alone = [shift.shifted(time, int(length)) for time, length in zip(t, frames, strict=True)]
    torch.testing.assert_close(shift.shifted(t, frames), torch.stack(alone))
    assert kind == "none" or shift.shifted(t, frames)[1] < shift.shifted(t, frames)[2]
