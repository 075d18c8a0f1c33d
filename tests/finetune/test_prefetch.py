"""Batches prepared ahead are those prepared when they are needed."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.dataset import clips
from finetune.base_model import BaseModel
from finetune.batches import Batches
from finetune.latents import encode_dataset
from finetune.prefetch import prefetched
from finetune.recipe import Recipe

CPU = torch.device("cpu")


def loaders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_any_number_of_workers_gives_the_same_bits(
    workers: int, tiny_base: BaseModel, dataset: Path, recipe: Recipe, tmp_path: Path
) -> None:
    data = encode_dataset(tiny_base, clips(dataset), [], 12, tmp_path / "cache")
    batches = Batches(tiny_base, data, recipe)
    with prefetched(batches, range(5, 25), workers, CPU) as ahead:
        made = list(ahead)
    assert len(made) == 20 and not loaders()
    for step, (batch,) in zip(range(5, 25), made, strict=True):
        (wanted,) = batches.of_step(step)
        for name in ("latents", "noise", "t"):
            assert torch.equal(getattr(batch, name), getattr(wanted, name))
        assert torch.equal(batch.conditions.kept_latents, wanted.conditions.kept_latents)
        assert all(
            torch.equal(one.tokens, other.tokens)
            for one, other in zip(batch.conditions.prompts, wanted.conditions.prompts, strict=True)
        )


class Slow:
    """Batches that take a while, and say how many are made at a time."""

    def __init__(self) -> None:
        self.made: list[int] = []

    def of_step(self, step: int, *share: int) -> Any:
        time.sleep(0.01)
        if step == 13:
            raise ValueError("a clip is gone")
        self.made.append(step)
        return [step]


def test_not_more_is_prepared_than_soon_needed_and_nothing_stays() -> None:
    slow = Slow()
    with prefetched(slow, range(1, 10_000), 2, CPU) as ahead:  # type: ignore[arg-type]
        assert [next(ahead) for _ in range(3)] == [[1], [2], [3]]
        time.sleep(0.2)
        assert max(slow.made) <= 8 and len(loaders()) == 2
    assert not loaders()


def test_a_failure_comes_out_where_its_batch_is_due() -> None:
    with prefetched(Slow(), range(10, 20), 2, CPU) as ahead:  # type: ignore[arg-type]
        assert [next(ahead) for _ in range(3)] == [[10], [11], [12]]
        with pytest.raises(ValueError, match="a clip is gone"):
            next(ahead)


@pytest.mark.gpu
def test_on_a_gpu_batches_lie_in_pinned_memory(
    tiny_base: BaseModel, dataset: Path, recipe: Recipe, tmp_path: Path
) -> None:
    data = encode_dataset(tiny_base, clips(dataset), [], 12, tmp_path / "cache")
    with prefetched(Batches(tiny_base, data, recipe), range(1, 3), 1, torch.device("cuda", 0)) as ahead:
        (batch,) = next(ahead)
    assert batch.latents.is_pinned() and batch.conditions.prompts[0].tokens.is_pinned()
