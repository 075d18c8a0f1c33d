"""The frequencies of rotary positions, which a 16-bit load must not round."""

from __future__ import annotations

import torch


def rotary_frequencies(channels: int) -> torch.Tensor:
    """(channels / 2,) float32, radians per frame, highest first, of a head that turns so many channels."""
    return 1.0 / (10000 ** (torch.arange(0, channels, 2).float() / channels))
