"""Train on from an adapter that is there already, of any format, as far as it fits."""

from __future__ import annotations

import math

from peft import LoraConfig

from finetune.adapter.attach import Adapter
from finetune.adapter.low_rank import LowRank, LowRankAdapter
from finetune.errors import WoodshedError

_DOWN, _UP, _MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector.weight"


def go_on_from(adapter: Adapter, source: LowRankAdapter, name: str) -> None:
    """Give the fresh `adapter` the weights of `source`, which messages call `name`.

    A lower rank is filled up: the further columns of B are zero, so that the start is exactly `source`, and the
    further rows of A stay as they were drawn, so that they learn. Another scale goes into B. Raises WoodshedError for
    other modules, another kind, a higher rank, or the shapes of another base.
    """
    state = adapter.state()
    modules = {key.removesuffix(_DOWN) for key in state if key.endswith(_DOWN)}
    _check_modules(modules, set(source.modules), name)
    for module, part in source.modules.items():
        config = adapter.configs[module.partition(".")[0]]
        _check_part(part, config, module, name)
        down, up = state[module + _DOWN].flatten(1), state[module + _UP].flatten(1)
        if (len(up), down.shape[1]) != (len(part.up), part.down.shape[1]):
            raise WoodshedError(
                f"adapter.init_from: '{name}' is for another base: {module} is {len(part.up)}×{part.down.shape[1]} "
                f"there and {len(up)}×{down.shape[1]} here."
            )
        down[: part.rank] = part.down
        up.zero_()[:, : part.rank] = part.up * (part.scale / _scale(config))
        if part.row_magnitude is not None:
            state[module + _MAGNITUDE].flatten().copy_(part.row_magnitude)
    adapter.load_state(state)


def _check_modules(own: set[str], theirs: set[str], name: str) -> None:
    if own != theirs:
        raise WoodshedError(
            f"adapter.init_from: '{name}' adapts {len(theirs)} modules and this recipe {len(own)}; {len(own & theirs)} "
            f"are the same, {min(own ^ theirs)} is not. Set adapter.targets and adapter.duration_embedder as they were."
        )


def _check_part(part: LowRank, config: LoraConfig, module: str, name: str) -> None:
    kind = "dora" if config.use_dora else "lora"
    if part.kind != kind:
        raise WoodshedError(
            f"adapter.init_from: '{name}' is a {part.kind} and this recipe trains a {kind}."
            + (
                f" Set adapter.kind={part.kind}."
                if part.kind in ("lora", "dora")
                else " It cannot be trained on."
            )
        )
    if part.rank > config.r:
        raise WoodshedError(
            f"adapter.init_from: '{name}' has rank {part.rank} in {module}, more than this recipe's {config.r}. Set "
            f"adapter.rank={part.rank} or more."
        )


def _scale(config: LoraConfig) -> float:
    return config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r)
