"""A moving average of the adapter's weights, which forgets the jitter of single steps; it is what is used then."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from finetune.adapter import Adapter


@dataclass
class MovingAverage:
    """`weights` by the names of `Adapter.named_parameters`, where the adapter is; a step keeps `decay` of them."""

    adapter: Adapter
    decay: float
    weights: dict[str, torch.Tensor]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the adapter as it is after `step`, from 1. Early steps weigh more, (1 + step) / (10 + step) is kept
        at most, so that the beginning is soon forgotten."""
        kept = min(self.decay, (1 + step) / (10 + step))
        own: list[torch.Tensor] = list(self.adapter.parameters())
        torch._foreach_lerp_(list(self.weights.values()), own, 1 - kept)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """The average in the place of the adapter's own weights, for a while."""
        own = {name: weight.detach().clone() for name, weight in self.adapter.named_parameters().items()}
        self.adapter.load_state(self.weights)
        try:
            yield
        finally:
            self.adapter.load_state(own)

    def state(self) -> dict[str, torch.Tensor]:
        """A copy on the CPU."""
        return {name: weight.cpu().clone() for name, weight in self.weights.items()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        for name, weight in self.weights.items():
            weight.copy_(state[name])


def make_average(adapter: Adapter, decay: float | None) -> MovingAverage | None:
    """The average that begins at the adapter as it is; None without `decay`."""
    if decay is None:
        return None
    weights = {name: weight.detach().clone() for name, weight in adapter.named_parameters().items()}
    return MovingAverage(adapter, decay, weights)
