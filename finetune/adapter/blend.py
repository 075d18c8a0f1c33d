"""Any number of adapters in the weights of a frozen base, while it generates.

Each touched weight W becomes W + Σ (what adapter i makes of W − W), in float32 from the untouched W and rounded
once, so that a step costs what the base's own does. A DoRA next to others is taken for its own change of W; a single
adapter is exactly what merging it into the base gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch

from finetune.adapter.layers import select_modules
from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError

_TRANSFORMER = "transformer."


@dataclass(frozen=True)
class AdapterUse:
    """One adapter and how it is used; `name` is what messages call it.

    `strength` 0 is the base, 1 the adapter as trained. `noise` is the part of the way from noise (1) to sound (0), ends
    included, in which it acts on the transformer; on the duration embedder it acts throughout, as in Stability's own
    program, where that is asked once before the first step. `layers`: see `select_modules`.
    """

    adapter: LowRankAdapter
    name: str
    strength: float = 1.0
    noise: tuple[float, float] = (0.0, 1.0)
    layers: str = ""

    def acts(self, module: str, t: float) -> bool:
        return not module.startswith(_TRANSFORMER) or self.noise[0] <= t <= self.noise[1]


class Blend:
    """The adapters of `uses` in the weights of `base` from entering to leaving this context.

    On entering, those that act at t = 1 are in; `at(t)` changes what has to change. On leaving, every weight has the
    bits that it had before. Raises WoodshedError when an adapter does not fit the base or its layers name nothing.
    """

    def __init__(self, base: BaseModel, uses: Sequence[AdapterUse]) -> None:
        self._parts: dict[str, list[tuple[AdapterUse, LowRank]]] = {}
        for use in uses:
            check_fit(base, use.adapter, use.name)
            chosen = select_modules(use.layers, use.adapter.modules)
            if not chosen:
                raise WoodshedError(
                    f"The adapter '{use.name}' has nothing in the layers '{use.layers}'; it changes "
                    f"{len(use.adapter.modules)} modules, for instance {min(use.adapter.modules)}."
                )
            for module in sorted(chosen) if use.strength else ():
                self._parts.setdefault(module, []).append((use, use.adapter.modules[module]))
        self._weights = {m: _weight(base, m) for m in self._parts}
        self._originals: dict[str, torch.Tensor] = {}
        self._active: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        place = _room_for(list(self._weights.values()))
        self._originals = {m: w.detach().to(place, copy=True) for m, w in self._weights.items()}
        self._active = {module: [] for module in self._parts}
        try:
            self.at(1.0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for module, original in self._originals.items():
            _write(self._weights[module], original)
        self._originals, self._active = {}, {}

    def at(self, t: float) -> None:
        """Have exactly those adapters in the weights that act at the time `t`, 1 noise to 0 sound."""
        for module, parts in self._parts.items():
            active = [n for n, (use, _) in enumerate(parts) if use.acts(module, t)]
            if active != self._active[module]:
                original = self._originals[module].to(self._weights[module].device)
                _write(self._weights[module], _mixed(original, [parts[n] for n in active]))
                self._active[module] = active


def check_fit(base: BaseModel, adapter: LowRankAdapter, name: str) -> None:
    """Raise WoodshedError, with counts, unless each module of the adapter is on the base with the same shape."""
    odd = [m for m, part in adapter.modules.items() if not _fits(base, m, part)]
    total = len(adapter.modules)
    if not total:
        raise WoodshedError(f"The adapter '{name}' holds no weights.")
    if odd:
        fitting = f"Only {total - len(odd)}" if len(odd) < total else "None"
        raise WoodshedError(
            f"The adapter '{name}' is for another base than '{base.name}'. {fitting} of its {total} modules fit; "
            f"{min(odd)} is not there, or of another shape."
        )


def _fits(base: BaseModel, module: str, part: LowRank) -> bool:
    try:
        weight = _weight(base, module)
    except AttributeError:
        return False
    rows, columns = part.row_magnitude, part.column_magnitude
    return (
        weight.ndim > 1
        and weight.flatten(1).shape == (part.up.shape[0], part.down.shape[1])
        and (rows is None or len(rows) == len(weight))
        and (columns is None or len(columns) == part.down.shape[1])
    )


def _weight(base: BaseModel, module: str) -> Any:
    return base.trainable_parts.get_submodule(module).weight


def _mixed(original: torch.Tensor, parts: Sequence[tuple[AdapterUse, LowRank]]) -> torch.Tensor:
    if not parts:
        return original
    (use, part), *others = parts
    mixed = part.merged(original, use.strength)
    if others:  # in place: the time goes into memory, not into arithmetic
        own = original.float()
        mixed -= own
        for use, part in others:
            mixed += part.merged(original, use.strength).sub_(own)
        mixed += own
    return mixed


@torch.no_grad()
def _write(weight: torch.Tensor, value: torch.Tensor) -> None:
    weight.copy_(value)


def _room_for(weights: Sequence[torch.Tensor]) -> torch.device:
    """Where the untouched weights wait: beside the weights, or in main memory where an accelerator is too full."""
    if not weights or weights[0].device.type != "cuda":
        return torch.device("cpu") if not weights else weights[0].device
    free, _ = torch.cuda.mem_get_info(weights[0].device)
    needed = sum(weight.nbytes for weight in weights)
    return weights[0].device if free > 3 * needed else torch.device("cpu")
