"""What a model_config.json says about a base: the sizes of every part, or a sentence why this base is none we know.

Every value is the configuration's; where it says nothing, the default of Stability's own code holds. A value that
would make another model than Woodshed computes (another objective, norm or conditioning) is refused, not ignored.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.base_model.stability.shift import SamplingShift, sampling_shift
from finetune.errors import WoodshedError

OBJECTIVES = ("rectified_flow", "rf_denoiser")  # a base, and a post-trained model


@dataclass(frozen=True)
class Chunks:
    """How SAME-S attends: within chunks of so many patches (`chunk_size`), the second half of the layers shifted by
    half a chunk. `encoder_taps`, `decoder_taps`: widths of the convolutions between patches and layers."""

    chunk_size: int
    midpoint_shift: bool
    encoder_taps: int
    decoder_taps: int


@dataclass(frozen=True)
class Geometry:
    """Arguments of diffusers' classes (`transformer`, `duration_embedder`, `autoencoder`) and what they do not take.

    `chunks` is None for SAME-L. The text encoder is in `text_folder` beside the weights, or of that name in the Hub
    repository `text_repo`.
    """

    objective: str
    sampling_shift: SamplingShift
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


class Section:
    """One object of the configuration, read key by key; what nobody read is unknown, and refused by `close`."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise WoodshedError(f"base.model: model_config.json has no '{where}', or it is no object.")
        self.values, self.where, self.seen = values, where, set[str]()

    def get(self, key: str, default: Any = None) -> Any:
        self.seen.add(key)
        value = self.values.get(key)
        return default if value is None else value

    def section(self, key: str) -> Section:
        self.seen.add(key)
        return Section(self.values.get(key), f"{self.where}.{key}")

    def optional(self, key: str) -> Section:
        return Section(self.get(key, {}), f"{self.where}.{key}")

    def count(self, key: str, default: int | None = None) -> int:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.wrong(key, value, "a whole number from 1")
        return value

    def number(self, key: str, default: float) -> float:
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.wrong(key, value, "a number")
        return float(value)

    def fixed(self, key: str, default: Any, *known: Any) -> Any:
        """The value, which must be one of `known`; `default` is what Stability's code takes when there is none."""
        value = self.get(key, default)
        if value not in known:
            raise self.wrong(key, value, " or ".join(map(repr, known)))
        return value

    def off(self, *keys: str) -> None:
        """Switches of mechanisms that no Stable Audio 3 has: absent, null, false, 0 or empty."""
        for key in keys:
            if value := self.get(key):
                raise self.wrong(key, value, "off")

    def close(self) -> None:
        if unknown := sorted(set(self.values) - self.seen):
            raise WoodshedError(
                f"base.model: model_config.json has '{self.where}.{unknown[0]}' = {self.values[unknown[0]]!r}, which "
                "no Stable Audio 3 that Woodshed knows has."
            )

    def wrong(self, key: str, value: Any, known: str) -> WoodshedError:
        return WoodshedError(
            f"base.model: model_config.json has '{self.where}.{key}' = {value!r}; the Stable Audio 3 that Woodshed "
            f"computes has {known} there."
        )


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
    shift = sampling_shift(diffusion.get("sampling_distribution_shift_options"))
    dit = diffusion.section("config")
    transformer, epsilons = _transformer(dit)
    conditioning = model.section("conditioning")
    prompt, seconds = _conditioners(conditioning, transformer["cond_token_dim"])
    autoencoder, chunks, auto_scale = _autoencoder(model.section("pretransform"), root.count("sample_rate"))
    if autoencoder["latent_dim"] != transformer["io_channels"]:
        raise WoodshedError(
            f"base.model: model_config.json has {autoencoder['latent_dim']} latent channels in the autoencoder and "
            f"{transformer['io_channels']} in the transformer."
        )
    return Geometry(
        objective=objective,
        sampling_shift=shift,
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


def _autoencoder(pretransform: Section, sample_rate: int) -> tuple[dict[str, Any], Chunks | None, bool]:
    """Arguments of diffusers' SAME, the chunks of SAME-S, and whether latents are divided by a learned deviation."""
    pretransform.fixed("type", "autoencoder", "autoencoder")
    same = pretransform.section("config")
    patched = same.section("pretransform")
    patched.fixed("type", "patched", "patched")
    patch = patched.section("config")
    patch.fixed("oversampling", 1, 1)
    patch.off("postfilter_channels")
    channels, size = patch.fixed("channels", None, 2), patch.count("patch_size")
    bottleneck = same.section("bottleneck")
    bottleneck.fixed("type", "softnorm", "softnorm")
    norm = bottleneck.section("config")
    norm.off("noise_augment_dim")
    stacks, sizes = [], []
    for side, audio_side in (("encoder", "in_channels"), ("decoder", "out_channels")):
        part = same.section(side)
        part.off("soft_clip")
        stack = part.section("config")
        stack.fixed(audio_side, 2, channels * size)
        stack.fixed("latent_dim", 32, same.count("latent_dim"))
        stacks.append(stack)
        sizes.append(_stack(stack))
    encoder, decoder = sizes
    differing = [key for key, value in encoder.items() if decoder[key] != value]
    if differing:
        raise same.wrong(
            f"decoder.config.{differing[0]}", decoder[differing[0]], f"the encoder's {encoder[differing[0]]}"
        )
    ratio = size * encoder["encoder_strides"][0]
    same.fixed("downsampling_ratio", None, ratio)
    sinusoidal = stacks[1].get("sinusoidal_blocks", [0])
    chunks, window = _chunks(stacks[0], stacks[1], encoder["encoder_strides"][0])
    arguments = encoder | {
        "sliding_window": window,
        "audio_channels": channels,
        "patch_size": size,
        "latent_dim": same.count("latent_dim"),
        "encoder_sinusoidal_blocks": [0],
        "decoder_sinusoidal_blocks": sinusoidal[:1],
        "sampling_rate": sample_rate,
    }
    return arguments, chunks, bool(norm.get("auto_scale", False))


def _stack(stack: Section) -> dict[str, Any]:
    """Sizes that encoder and decoder share in diffusers' class; SAME has one level of resampling."""
    stack.off(
        "conformer", "layer_scale", "causal", "feat_scale", "cross_attn", "use_snake", "use_dilated_conv"
    )
    stack.fixed("dyt", True, True)
    stack.fixed("mapping_bias", True, True)
    stack.fixed("variable_stride", False, True)  # one learned token for all places of a latent
    levels = [stack.get(key, default) for key, default in _LEVELS.items()]
    if any(
        not isinstance(level, list) or len(level) != 1 or not isinstance(level[0], int) for level in levels
    ):
        raise stack.wrong("c_mults, strides, transformer_depths", levels, "one level of resampling")
    return {
        "encoder_channels": stack.count("channels", 128),
        **{f"encoder_{key}": level for key, level in zip(_LEVELS, levels, strict=True)},
        "dim_heads": stack.count("dim_heads", 128),
        "ff_mult": stack.count("ff_mult", 3),
        "use_differential_attention": stack.fixed("differential", True, True, False),
    }


_LEVELS = {"c_mults": [1, 2, 4, 8], "strides": [2, 4, 8, 8], "transformer_depths": [3, 3, 3, 3]}


def _chunks(encoder: Section, decoder: Section, stride: int) -> tuple[Chunks | None, int]:
    """The chunks of SAME-S, or None and the sliding window of SAME-L in latents to each side."""
    window = encoder.get("sliding_window")
    decoder.fixed("sliding_window", None, window)
    if window is not None:
        if not (
            isinstance(window, list) and len(window) == 2 and window[0] == window[1] and window[0] in range(9)
        ):
            raise encoder.wrong("sliding_window", window, "the same few latents to both sides")
        encoder.off("conv_mapping")
        decoder.off("conv_mapping")
        return None, window[0]
    size = encoder.count("chunk_size", 128)
    decoder.fixed("chunk_size", 128, size)
    shifted = bool(encoder.get("chunk_midpoint_shift", False))
    decoder.fixed("chunk_midpoint_shift", False, shifted)
    if size % stride or (shifted and size // stride % 2):
        raise encoder.wrong("chunk_size", size, f"an even multiple of the stride, {stride},")
    taps = [3 if side.get("conv_mapping", False) else 1 for side in (encoder, decoder)]
    return Chunks(size, shifted, *taps), 1
