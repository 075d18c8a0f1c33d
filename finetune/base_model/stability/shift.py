"""How times are moved for longer sounds: Stability's four distribution shifts, as a base's configuration names them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from finetune.errors import WoodshedError

# The defaults of Stability's classes.
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
class TimeShift:
    """`kind` is `logsnr`, `full`, `flux` or `none`; `numbers` are all that kind's values, none left out."""

    kind: str
    numbers: dict[str, float]

    def shifted(self, t: torch.Tensor, frames: int | torch.Tensor) -> torch.Tensor:
        """Times `t`, 1 noise and 0 clean, moved as for a sound of `frames` latents: one number for all of them, or a
        tensor with one for each.

        In the order of Stability's operations: the base hears one bit of t as a turn of its highest frequency.
        """
        n = self.numbers
        if self.kind == "none":
            return t
        frames = frames.to(t).clamp(min=1) if isinstance(frames, torch.Tensor) else max(frames, 1)
        if self.kind == "logsnr":
            start = n["anchor_logsnr"] - n["rate"] * _log2(frames / n["anchor_length"])
            moved = torch.sigmoid(-(n["logsnr_end"] - t * (n["logsnr_end"] - start)))
            return moved.masked_fill(t <= 0, 0.0).masked_fill(t >= 1, 1.0)
        length = _clamped(frames, n["min_length"], n["max_length"])
        if self.kind == "flux":
            alpha = _exp(_between(length, n, math.log(n["alpha_min"]), math.log(n["alpha_max"]), _log))
            return alpha * t / (1 + (alpha - 1) * t)
        odds = _exp(-_between(length, n, n["base_shift"], n["max_shift"], lambda x: x))
        moved = 1 - odds / (odds + (1 / (1 - t) - 1))
        return torch.sin(moved * math.pi / 2) if n["use_sine"] else moved


SAMPLING_SHIFT = TimeShift("logsnr", _DEFAULTS["logsnr"] | {"rate": 0.0})
"""Where a configuration names no shift for sampling: even in log-SNR, whatever the length."""
TRAINING_SHIFT = TimeShift("full", _DEFAULTS["full"])
"""What the published bases were trained with; a base without a configuration of Stability's has this one."""


def sampling_shift(options: dict[str, Any] | None) -> TimeShift:
    """From `sampling_distribution_shift_options` of a model_config.json. WoodshedError for an unknown kind or value."""
    return SAMPLING_SHIFT if options is None else _read(options)


def training_shift(options: dict[str, Any] | None) -> TimeShift:
    """From `distribution_shift_options` of a model_config.json, without which times stay where they were drawn.

    WoodshedError for an unknown kind or value.
    """
    return TimeShift("none", {}) if options is None else _read(options)


def _read(options: dict[str, Any]) -> TimeShift:
    kind = options.get("type", "full")
    numbers = {key: value for key, value in options.items() if key != "type"}
    unknown = set(numbers) - set(_DEFAULTS.get(kind, {}))
    if kind not in _DEFAULTS or unknown or not all(isinstance(v, int | float) for v in numbers.values()):
        raise WoodshedError(
            f"base.model: model_config.json spaces the times in a way that Woodshed does not know: {options}."
        )
    return TimeShift(kind, _DEFAULTS[kind] | numbers)


def _between(length: Any, numbers: dict[str, float], low: float, high: float, scale: Any) -> Any:
    """`low` at the shortest and `high` at the longest length, even on `scale` between them."""
    shortest, longest = scale(numbers["min_length"]), scale(numbers["max_length"])
    return (
        low if longest == shortest else low + (high - low) * (scale(length) - shortest) / (longest - shortest)
    )


def _clamped(length: Any, low: float, high: float) -> Any:
    return length.clamp(low, high) if isinstance(length, torch.Tensor) else min(max(length, low), high)


def _exp(x: Any) -> Any:
    return x.exp() if isinstance(x, torch.Tensor) else math.exp(x)


def _log(x: Any) -> Any:
    return x.log() if isinstance(x, torch.Tensor) else math.log(x)


def _log2(x: Any) -> Any:
    return x.log2() if isinstance(x, torch.Tensor) else math.log2(x)
