"""What makes a recipe need less memory, from what costs nothing to what changes the result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from finetune.rank import processes
from finetune.recipe import Recipe

SHORTEST_CROP = 5.0  # seconds
SMALLEST_RANK = 4

Changes = dict[str, Any]  # dotted key → value


def smaller(recipe: Recipe, gpu: bool) -> Iterator[tuple[str, Changes]]:
    """(what it costs, changes) in the order in which to make them, each on top of those before."""
    training, optimizer = recipe.training, recipe.optimizer.name
    if optimizer == "adamw":
        yield "learns the same", {"optimizer.name": "adamw8bit"}
    if recipe.base.dtype in ("auto", "float32") and not gpu:
        yield "rounds the base to 8 bits of mantissa", {"base.dtype": "bfloat16"}
    if training.gradient_checkpointing != "on":
        yield "a third slower, the same result", {"training.gradient_checkpointing": "on"}
    if processes() > 1 and not recipe.base.shard:
        yield "slower, the same result", {"base.shard": "true"}
    if training.batch_size > 1:
        passes = training.batch_size * training.gradient_accumulation
        yield (
            "slower, learns the same but for pairing of noise",
            {"training.batch_size": 1, "training.gradient_accumulation": passes},
        )
    if recipe.base.dtype not in ("int8", "nf4"):
        yield "rounds the base's weights to 8 bits", {"base.dtype": "int8"}
    if recipe.base.dtype != "nf4":
        yield "rounds the base's weights to 4 bits", {"base.dtype": "nf4"}
    if optimizer in ("adamw", "adamw8bit") and gpu:
        yield "the optimizer's state may leave the GPU", {"optimizer.name": "pagedadamw8bit"}
    crop = recipe.data.crop_seconds
    while crop > SHORTEST_CROP:
        crop = max(SHORTEST_CROP, round(crop / 2, 2))
        yield "hears shorter pieces", {"data.crop_seconds": crop}
    rank = recipe.adapter.rank
    while rank > SMALLEST_RANK:
        rank = max(SMALLEST_RANK, rank // 2)
        yield "learns less", {"adapter.rank": rank}


def as_words(changes: Changes) -> str:
    """The changes as they are written after a recipe on the command line."""
    return " ".join(f"{key}={value}" for key, value in changes.items())
