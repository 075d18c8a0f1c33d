"""How the times of sampling are spaced: Stability's four distribution shifts, as a base's configuration names them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from finetune.errors import WoodshedError

# The defaults of Stability's classes; a configuration without any shift means `logsnr` with rate 0.
_DEFAULTS: dict[str, dict[str, float]] = {
    "none": {},
    "full": {
        "base_shift": 0.5,
        "max_shift": 1.15,
        "min_length": 256,
        "max_length": 4096,
        "use_sine": False,
    },
    "flux": {"alpha_min": 1.0, "alpha_max": 1.0, "min_length": 256, "max_length": 4096},
    "logsnr": {"anchor_length": 2000, "anchor_logsnr": -6.2, "rate": 1.0, "logsnr_end": 2.0},
}


@dataclass(frozen=True)
class SamplingShift:
    """`kind` is `logsnr`, `full`, `flux` or `none`; `numbers` are all that kind's values, none left out."""

    kind: str = "logsnr"
    numbers: dict[str, float] = field(default_factory=lambda: {**_DEFAULTS["logsnr"], "rate": 0.0})

    def shifted(self, t: torch.Tensor, frames: int) -> torch.Tensor:
        """Times `t` (steps + 1,), 1 noise and 0 clean, moved as for a sound of `frames` latents."""
        n, frames = self.numbers, max(frames, 1)
        if self.kind == "none":
            return t
        if self.kind == "logsnr":
            start = n["anchor_logsnr"] - n["rate"] * math.log2(frames / n["anchor_length"])
            moved = torch.sigmoid(-(n["logsnr_end"] - t * (n["logsnr_end"] - start)))
            return moved.masked_fill(t <= 0, 0.0).masked_fill(t >= 1, 1.0)
        length = min(max(frames, n["min_length"]), n["max_length"])
        if self.kind == "flux":
            alpha = math.exp(
                _between(length, n, math.log(n["alpha_min"]), math.log(n["alpha_max"]), math.log)
            )
            return alpha * t / (1 + (alpha - 1) * t)
        odds = math.exp(-_between(length, n, n["base_shift"], n["max_shift"], float))
        moved = 1 - odds / (odds + (1 / (1 - t) - 1))
        return torch.sin(moved * math.pi / 2) if n["use_sine"] else moved


def sampling_shift(options: dict[str, Any] | None) -> SamplingShift:
    """From `sampling_distribution_shift_options` of a model_config.json. WoodshedError for an unknown kind or value."""
    if options is None:
        return SamplingShift()
    kind = options.get("type", "full")
    numbers = {key: value for key, value in options.items() if key != "type"}
    unknown = set(numbers) - set(_DEFAULTS.get(kind, {}))
    if kind not in _DEFAULTS or unknown or not all(isinstance(v, int | float) for v in numbers.values()):
        raise WoodshedError(
            "base.model: model_config.json spaces the times of sampling in a way that Woodshed does not know: "
            f"{options}."
        )
    return SamplingShift(kind, _DEFAULTS[kind] | numbers)


def _between(length: float, numbers: dict[str, float], low: float, high: float, scale: Any) -> float:
    """`low` at the shortest and `high` at the longest length, even on `scale` between them."""
    shortest, longest = scale(numbers["min_length"]), scale(numbers["max_length"])
    return (
        low if longest == shortest else low + (high - low) * (scale(length) - shortest) / (longest - shortest)
    )
