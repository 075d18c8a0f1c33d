"""What a model_config.json says about a base: the sizes of every part, or a sentence why this base is none we know.

Every value is the configuration's; where it says nothing, the default of Stability's own code holds. A value that
would make another model than Woodshed computes (another objective, norm or conditioning) is refused, not ignored.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.base_model.stability.same_geometry import Chunks, same_geometry
from finetune.base_model.stability.section import Section
from finetune.base_model.stability.shift import TimeShift, sampling_shift, training_shift
from finetune.errors import WoodshedError

OBJECTIVES = ("rectified_flow", "rf_denoiser")  # a base, and a post-trained model


@dataclass(frozen=True)
class Geometry:
    """Arguments of diffusers' classes (`transformer`, `duration_embedder`, `autoencoder`) and what they do not take.

    `chunks` is None for SAME-L. The text encoder is in `text_folder` beside the weights, or of that name in the Hub
    repository `text_repo`.
    """

    objective: str
    sampling_shift: TimeShift
    training_shift: TimeShift
    sample_rate: int
    prompt_tokens: int
    text_folder: str
    text_repo: str
    transformer: dict[str, Any]
    norm_epsilon: float
    query_key_epsilon: float
    rotary_channels: int
    duration_embedder: dict[str, Any]
    autoencoder: dict[str, Any]
    chunks: Chunks | None
    auto_scale: bool

    @property
    def post_trained(self) -> bool:
        return self.objective == "rf_denoiser"


def read_geometry(path: Path) -> Geometry:
    """Raises WoodshedError when `path` is no model_config.json of a Stable Audio 3."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WoodshedError(f"base.model: '{path}' cannot be read: {error}. Fetch it again.") from error
    return geometry_of(config)


def geometry_of(config: Any) -> Geometry:
    """The geometry that a parsed model_config.json describes. WoodshedError where it is another kind of model."""
    root = Section(config, "model_config")
    root.fixed("model_type", None, "diffusion_cond_inpaint", "diffusion_cond")
    model = root.section("model")
    diffusion = model.section("diffusion")
    objective = diffusion.fixed("diffusion_objective", "v", *OBJECTIVES)
    _check_routes(diffusion)
    sampling = sampling_shift(diffusion.get("sampling_distribution_shift_options"))
    training = training_shift(diffusion.get("distribution_shift_options"))
    dit = diffusion.section("config")
    transformer, epsilons = _transformer(dit)
    conditioning = model.section("conditioning")
    prompt, seconds = _conditioners(conditioning, transformer["cond_token_dim"])
    autoencoder, chunks, auto_scale = same_geometry(model.section("pretransform"), root.count("sample_rate"))
    if autoencoder["latent_dim"] != transformer["io_channels"]:
        raise WoodshedError(
            f"base.model: model_config.json has {autoencoder['latent_dim']} latent channels in the autoencoder and "
            f"{transformer['io_channels']} in the transformer."
        )
    return Geometry(
        objective=objective,
        sampling_shift=sampling,
        training_shift=training,
        sample_rate=autoencoder["sampling_rate"],
        prompt_tokens=prompt.count("max_length", 128),
        text_folder=_plain_name(prompt, "subfolder", r"[\w-][\w.-]*", "t5gemma-b-b-ul2"),
        text_repo=_plain_name(prompt, "repo_id", r"[\w-][\w.-]*/[\w-][\w.-]*", "google/t5gemma-b-b-ul2"),
        transformer=transformer,
        norm_epsilon=epsilons[0],
        query_key_epsilon=epsilons[1],
        # Stability turns at least 32 channels of a head, half of it otherwise.
        rotary_channels=max(transformer["embed_dim"] // transformer["num_heads"] // 2, 32),
        duration_embedder=seconds | {"output_dim": transformer["global_cond_dim"]},
        autoencoder=autoencoder,
        chunks=chunks,
        auto_scale=auto_scale,
    )


def _plain_name(prompt: Section, key: str, pattern: str, default: str) -> str:
    """A name that cannot lead out of the folder it is looked up in."""
    name = prompt.get(key, default)
    if not isinstance(name, str) or not re.fullmatch(pattern, name):
        raise prompt.wrong(key, name, "a plain name")
    return name


def _check_routes(diffusion: Section) -> None:
    """What is told to the transformer, and where."""
    diffusion.fixed("type", "dit", "dit")
    diffusion.fixed("cross_attention_cond_ids", [], ["prompt", "seconds_total"])
    diffusion.fixed("global_cond_ids", [], ["seconds_total"])
    diffusion.fixed("local_add_cond_ids", [], ["inpaint_mask", "inpaint_masked_input"])
    diffusion.off("input_concat_ids", "prepend_cond_ids", "modular_local_cond_configs")


def _transformer(dit: Section) -> tuple[dict[str, Any], tuple[float, float]]:
    """Arguments of diffusers' transformer; epsilons of the blocks' norms and of the query and key norms."""
    dit.fixed("transformer_type", "continuous_transformer", "continuous_transformer")
    dit.fixed("global_cond_type", "prepend", "adaLN")
    dit.fixed("timestep_cond_type", "global", "global")
    dit.fixed("timestep_features_type", "learned", "expo")
    dit.fixed("norm_type", "layer_norm", "rms_norm")
    dit.fixed("patch_size", 1, 1)
    dit.fixed("final_cross_attn_ix", -1, -1)
    for key in ("project_cond_tokens", "project_global_cond", "rotary_pos_emb"):
        dit.fixed(key, True, True)
    dit.off(
        "input_concat_dim",
        "prepend_cond_dim",
        "timestep_features_logsnr",
        "causal",
        "conformer",
        "layer_scale",
    )
    dit.off(
        "cross_attn_rotary_pos_emb", "use_sinusoidal_emb", "use_abs_pos_emb", "sliding_window", "add_rope"
    )
    for key in (
        "zero_init_branch_outputs",
        "timestep_embed_dim",
        "abs_pos_emb_max_length",
        "diffusion_objective",
    ):
        dit.get(key)  # says how weights began, or is without effect when the above is off
    attention, norm, forward = (dit.optional(f"{name}_kwargs") for name in ("attn", "norm", "ff"))
    attention.fixed("qk_norm", "none", "rms")
    attention.off("feat_scale", "causal")
    attention.get("zero_init_output")
    norm.off("fix_scale")
    norm.get("force_fp32")  # diffusers' norms always compute in float32
    forward.off("no_bias", "use_conv", "sinusoidal")
    forward.fixed("glu", True, True)
    for key in ("conv_kernel_size", "zero_init_output"):
        forward.get(key)
    io_channels, heads = dit.count("io_channels", 32), dit.count("num_heads", 8)
    transformer: dict[str, Any] = {
        "io_channels": io_channels,
        "embed_dim": dit.count("embed_dim", 768),
        "depth": dit.count("depth", 12),
        "num_heads": heads,
        "cond_token_dim": dit.count("cond_token_dim"),
        "global_cond_dim": dit.count("global_cond_dim"),
        "local_add_cond_dim": dit.fixed("local_add_cond_dim", None, io_channels + 1),
        "timestep_features_dim": dit.count("timestep_features_dim", 256),
        "ff_mult": forward.number("mult", 4.0),
        "num_memory_tokens": dit.count("num_memory_tokens"),
        "use_differential_attention": attention.fixed("differential", False, True, False),
    }
    if transformer["embed_dim"] % heads or transformer["embed_dim"] // heads < 32:
        raise dit.wrong("num_heads", heads, "heads of equal width, at least 32 channels each,")
    epsilons = norm.number("eps", 1e-5), attention.number("qk_norm_eps", 1e-6)
    for section in (dit, attention, norm, forward):
        section.close()
    return transformer, epsilons


def _conditioners(conditioning: Section, width: int) -> tuple[Section, dict[str, Any]]:
    """The prompt's configuration, and arguments of the duration embedder."""
    conditioning.fixed("cond_dim", None, width)
    configs = conditioning.get("configs")
    found = {}
    for number, config in enumerate(configs if isinstance(configs, list) else []):
        entry = Section(config, f"{conditioning.where}.configs.{number}")
        found[entry.get("id"), entry.get("type")] = entry.section("config")
    if set(found) != {("prompt", "t5gemma"), ("seconds_total", "number")}:
        raise conditioning.wrong(
            "configs", sorted(map(str, found)), "a t5gemma 'prompt' and a number 'seconds_total'"
        )
    prompt, seconds = found["prompt", "t5gemma"], found["seconds_total", "number"]
    prompt.fixed("padding_mode", "zero", "learned")
    prompt.off("project_out")
    seconds.fixed("fourier_features_type", "learned", "expo")
    low, high = seconds.number("min_val", 0), seconds.number("max_val", 1)
    if low >= high:
        raise seconds.wrong("max_val", high, f"more than min_val, which is {low:g},")
    # 256 features between 0.5 and 10000: NumberEmbedder and ExpoFourierFeatures take nothing else from a configuration.
    return prompt, {"fourier_dim": 256, "min_val": low, "max_val": high, "min_freq": 0.5, "max_freq": 10000.0}
