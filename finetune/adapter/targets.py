"""Which layers of the transformer an adapter is put on: presets, and ranges of its blocks."""

from __future__ import annotations

from finetune.errors import WoodshedError

_ATTENTION = r"self_attn\.(to_qkv|to_out)|cross_attn\.(to_q|to_kv|to_out)"
_FEED_FORWARD = r"ff\.(proj_in|proj_out)"
_OF_BLOCKS = {
    "attention": _ATTENTION,
    "attention+ff": f"{_ATTENTION}|{_FEED_FORWARD}",
    "all": rf"{_ATTENTION}|{_FEED_FORWARD}|to_local_embed\.(0|2)",
}
_OUTSIDE = {"all": r"(to_cond_embed|to_global_embed)\.(0|2)"}
TARGETS = tuple(_OF_BLOCKS)


def module_pattern(targets: str, layers: str | None, blocks: int) -> str:
    """The regular expression that whole names of the transformer's modules must match to carry an adapter.

    `layers` are ranges of its `blocks`, as `0-7,12`, and None all of them; what `all` has outside of the blocks stays.
    Raises WoodshedError for an unknown preset and for blocks that the base has not.
    """
    if targets not in TARGETS:
        raise WoodshedError(f"adapter.targets: '{targets}' is not one of {', '.join(TARGETS)}.")
    numbers = r"\d+" if layers is None else "|".join(map(str, read_layers(layers, blocks)))
    pattern = rf"transformer_blocks\.({numbers})\.({_OF_BLOCKS[targets]})"
    return f"{pattern}|{_OUTSIDE[targets]}" if targets in _OUTSIDE else pattern


def read_layers(layers: str, blocks: int) -> list[int]:
    """The numbers that `0-7,12` names, in order. Raises WoodshedError where they are not all below `blocks`."""
    numbers: set[int] = set()
    for part in layers.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise WoodshedError(f"adapter.layers: '{layers}' names no blocks; write them as 0-7,12.")
        low, high = int(first), int(last or first)
        if low > high or high >= blocks:
            raise WoodshedError(
                f"adapter.layers: there are no blocks {part.strip()} in this base; it has 0-{blocks - 1}."
            )
        numbers.update(range(low, high + 1))
    return sorted(numbers)
