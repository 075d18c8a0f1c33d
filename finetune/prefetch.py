"""The batches of the next steps, prepared by threads while a step is computed.

What a step is given depends on its number alone, so there is nothing to save and the number of threads changes nothing.
Threads, not processes: the work is PyTorch's and the file system's, which let other threads run; they need no copy of
the base, and a killed run leaves none behind.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any

import torch

from finetune.batches import Batch, Batches
from finetune.rank import processes, rank

AHEAD = 2  # steps for each thread that may be ready before they are needed


@contextlib.contextmanager
def prefetched(
    batches: Batches, steps: range, workers: int, device: torch.device
) -> Iterator[Iterator[list[Batch]]]:
    """Yields the batches of one of `steps` after another, in pinned memory where `device` is a GPU."""
    prepare = partial(_of_step, batches, device.type == "cuda")
    if workers == 0:
        yield map(prepare, steps)
        return
    pool = ThreadPoolExecutor(workers, "loader", initializer=_begin, initargs=(device,))
    try:
        yield _in_order(pool, prepare, steps, workers * AHEAD)
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.set_device(device)  # pinning would else open the first GPU


def _in_order(
    pool: ThreadPoolExecutor, prepare: Callable[[int], list[Batch]], steps: range, ahead: int
) -> Iterator[list[Batch]]:
    waiting: deque[Future[list[Batch]]] = deque()
    for step in steps:
        waiting.append(pool.submit(prepare, step))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _of_step(batches: Batches, pin: bool, step: int) -> list[Batch]:
    made = batches.of_step(step, rank(), processes())
    return _pinned(made) if pin else made


def _pinned(value: Any) -> Any:
    """`value` with every tensor in it in memory that a GPU can fetch by itself."""
    if isinstance(value, torch.Tensor):
        return value.pin_memory()
    if isinstance(value, list):
        return [_pinned(each) for each in value]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _pinned(getattr(value, field.name)) for field in fields(value)})
    return value
