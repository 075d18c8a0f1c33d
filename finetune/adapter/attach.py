"""Attach a LoRA or DoRA to a base's transformer (and duration embedder), scale it, read and set its weights.

LoRA: Hu et al. 2021; DoRA: Liu et al. 2024; rank-stabilised scaling: Kalajdzievski 2023.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from finetune.adapter.lean import make_lean
from finetune.adapter.recorded_base import check_recorded_base
from finetune.adapter.targets import module_pattern
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError

NAME = "default"


@dataclass(frozen=True)
class AdapterSettings:
    """What kind of adapter, how large, and where. `alpha` scales by alpha / rank (alpha / √rank if stabilised).

    `layers` are the blocks that carry it, as `0-7,12`; None is all of them.
    """

    kind: str = "lora"
    rank: int = 16
    alpha: float = 16.0
    targets: str = "attention+ff"
    layers: str | None = None
    duration_embedder: bool = False
    dropout: float = 0.0
    rank_stabilised: bool = False
    init_from: str | None = None


@dataclass
class Adapter:
    """An adapter in place: `parts` are the modules that carry it, under their names in `BaseModel`."""

    parts: dict[str, nn.Module]
    configs: dict[str, LoraConfig]

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """All adapter weights, float32, as `<part>.<module>.lora_A.weight` and the like, in a stable order."""
        named = {}
        for part, module in self.parts.items():
            for name, parameter in module.named_parameters():
                if ".lora_" in name:
                    named[f"{part}.{name.replace(f'.{NAME}', '')}"] = parameter
        return dict(sorted(named.items()))

    def parameters(self) -> list[nn.Parameter]:
        return list(self.named_parameters().values())

    def state(self) -> dict[str, torch.Tensor]:
        """A copy of all adapter weights on the CPU."""
        return {name: p.detach().cpu().clone().contiguous() for name, p in self.named_parameters().items()}

    @torch.no_grad()
    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        """Set all weights. Raises WoodshedError when a weight is missing, left over or of another shape."""
        own = self.named_parameters()
        wrong = sorted(own.keys() ^ state.keys())
        wrong += [n for n in own.keys() & state.keys() if own[n].shape != state[n].shape]
        if wrong:
            raise WoodshedError(
                f"The adapter does not fit this base: {len(wrong)} of its weights are missing, left over or of another "
                f"shape, for instance {wrong[0]}. Load it on the base it was trained on."
            )
        for name, parameter in own.items():
            parameter.copy_(state[name])

    def train(self, on: bool = True) -> None:
        """Switch the adapter's own dropout; the frozen base has none."""
        for layer in self._layers():
            layer.train(on)

    @contextlib.contextmanager
    def absent(self) -> Iterator[None]:
        """The base alone, for a while."""
        for layer in self._layers():
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self._layers():
                layer.enable_adapters(True)

    @torch.no_grad()
    def set_strength(self, strength: float) -> None:
        """Blend from the base (0, exactly) to the adapter as trained (1), or beyond.

        A DoRA's magnitude goes from the base's own row norms to the trained one, so that 0 is the base there too.
        Call it once, before the weights are used.
        """
        for layer in self._layers():
            layer.enable_adapters(strength != 0)
            layer.scaling[NAME] *= strength
            if NAME in layer.lora_magnitude_vector:
                magnitude = layer.lora_magnitude_vector[NAME].weight
                norms = torch.linalg.vector_norm(layer.get_base_layer().weight.float(), dim=1)
                magnitude.copy_(torch.lerp(norms.to(magnitude), magnitude, strength))

    def make_lean(self) -> None:
        """Have linear layers computed without copies and full weights; magnitudes start as the base's, in float32."""
        for layer in self._layers():
            if isinstance(layer.get_base_layer(), nn.Linear):
                make_lean(layer, NAME)

    def _layers(self) -> list[Any]:
        return [m for part in self.parts.values() for m in part.modules() if isinstance(m, LoraLayer)]


def attach(base: BaseModel, settings: AdapterSettings, seed: int = 0) -> Adapter:
    """A fresh adapter on `base` that changes nothing yet (B is zero), or the one of `init_from`, which may be of any
    format; it alone trains.

    Raises WoodshedError for unknown settings, when no module of the base is matched, or `init_from` does not fit.
    """
    from finetune.adapter.formats import read_adapter
    from finetune.adapter.start import go_on_from

    start = read_adapter(Path(settings.init_from), base) if settings.init_from else None
    if start is not None:
        check_recorded_base(start.facts, base, str(settings.init_from))
    blocks = len(base.transformer.transformer_blocks)
    configs = {"transformer": _config(settings, module_pattern(settings.targets, settings.layers, blocks))}
    if settings.duration_embedder:
        configs["duration_embedder"] = _config(settings, "linear")
    adapter = inject(base, configs, seed)
    if start is not None:
        go_on_from(adapter, start, str(settings.init_from))
    return adapter


def inject(base: BaseModel, configs: dict[str, LoraConfig], seed: int = 0) -> Adapter:
    """Put PEFT layers into the named parts of `base`, initialised from `seed` alone, weights in float32."""
    parts = {name: getattr(base, name) for name in configs}
    with torch.random.fork_rng(), _without_warnings():
        torch.manual_seed(seed)
        for name, config in configs.items():
            try:
                inject_adapter_in_model(config, parts[name], adapter_name=NAME)
            except ValueError as error:
                raise WoodshedError(f"The adapter matches no module of the base's {name}: {error}") from error
    adapter = Adapter(parts, configs)
    for parameter in adapter.parameters():
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    adapter.make_lean()
    return adapter


class _without_warnings:
    """PEFT logs a warning for every model without a config of transformers' kind; ours never has one."""

    def __enter__(self) -> None:
        self.logger = logging.getLogger("peft")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.level)


def _config(settings: AdapterSettings, pattern: str) -> LoraConfig:
    if settings.kind not in ("lora", "dora"):
        raise WoodshedError(f"adapter.kind: '{settings.kind}' is not one of lora, dora.")
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha if settings.alpha % 1 else math.floor(settings.alpha),
        target_modules=pattern,
        lora_dropout=settings.dropout,
        use_dora=settings.kind == "dora",
        use_rslora=settings.rank_stabilised,
        bias="none",
    )
