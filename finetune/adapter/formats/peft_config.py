"""PEFT's LoraConfig, as adapter_config.json and diffusers' header hold it: what scales each module."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from peft import LoraConfig
from peft.utils.other import get_pattern_key

from finetune.adapter.formats.parts import one_kind
from finetune.adapter.low_rank import LowRank
from finetune.errors import WoodshedError

_PLAIN: dict[str, tuple[object, ...]] = {
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "layer_replication": (None, []),
    "trainable_token_indices": (None, []),
    "target_parameters": (None, []),
    "lora_bias": (False, None),
    "fan_in_fan_out": (False, None),
    "use_qalora": (False, None),
    "use_bdlora": (None, False),
    "alora_invocation_tokens": (None, []),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
    "init_lora_weights": (True, False, None, "gaussian", "orthogonal", "eva"),
}
"""Values with which an adapter is W + scale · B·A and nothing else; initialisations such as PiSSA change the base."""


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Raise WoodshedError unless the config describes a LoRA or DoRA and nothing more."""
    kind = str(config.get("peft_type", "LORA")).upper().removeprefix("PEFTTYPE.")
    if kind != "LORA":
        raise WoodshedError(f"{where} is an adapter of PEFT's kind {kind}; Woodshed reads LORA (with DoRA).")
    for key, allowed in _PLAIN.items():
        if key in config and config[key] not in allowed:
            raise WoodshedError(
                f"{where} uses PEFT's '{key}' ({config[key]}), which changes more than a LoRA does; it cannot be read "
                "as one."
            )


def scale_of(config: Mapping[str, Any], module: str, rank: int, where: str) -> float:
    """alpha / rank of a module, or alpha / √rank where the config says rank-stabilised, patterns considered."""
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    said = ranks.get(get_pattern_key(ranks, module), config.get("r", rank))
    alpha = alphas.get(get_pattern_key(alphas, module), config.get("lora_alpha", rank))
    if said != rank:
        raise WoodshedError(f"{where}: {module} has rank {rank}, but its configuration says {said}.")
    try:
        scale = float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)
    except (TypeError, ValueError):
        scale = math.nan
    if not math.isfinite(scale):
        raise WoodshedError(f"{where}: the alpha of {module} is '{alpha}', which is no number.")
    return scale


def config_of(parts: Mapping[str, LowRank], base: str | None) -> dict[str, Any]:
    """The configuration of `parts`, by their names within one model, as PEFT writes it to JSON.

    Raises WoodshedError for kinds that PEFT has not.
    """
    kind = one_kind(parts.values(), "PEFT")
    if kind not in ("lora", "dora"):
        raise WoodshedError(
            f"PEFT, and so diffusers, has no {kind}. Export it for Stability's program (--to stable-audio-3) or "
            "merged into the base (--to merged)."
        )
    ranks = {module: part.rank for module, part in parts.items()}
    alphas = {module: _number(part.scale * part.rank) for module, part in parts.items()}
    rank, alpha = _commonest(ranks), _commonest(alphas)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules="|".join(re.escape(module) for module in sorted(parts)),
        rank_pattern={_exactly(m): r for m, r in ranks.items() if r != rank},
        alpha_pattern={_exactly(m): a for m, a in alphas.items() if a != alpha},
        use_dora=kind == "dora",
        bias="none",
        inference_mode=True,
        base_model_name_or_path=base,
    )
    return {key: getattr(value, "value", value) for key, value in config.to_dict().items()}


def _commonest(values: Mapping[str, Any]) -> Any:
    return Counter(values.values()).most_common(1)[0][0]


def _exactly(module: str) -> str:
    """A pattern of PEFT's that matches this module and none that ends alike."""
    return "^" + re.escape(module)


def _number(value: float) -> float:
    near = round(value)
    return near if math.isclose(value, near, rel_tol=1e-12) else value
