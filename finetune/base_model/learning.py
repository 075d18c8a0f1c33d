"""Whether a forward pass belongs to a training step, also the first pass of what is computed again for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_first_pass: ContextVar[bool] = ContextVar("first_pass", default=False)


def is_learning() -> bool:
    return torch.is_grad_enabled() or _first_pass.get()


@contextmanager
def first_pass() -> Iterator[None]:
    """Within it a step is learning although no gradients are asked for yet."""
    token = _first_pass.set(True)
    try:
        yield
    finally:
        _first_pass.reset(token)
