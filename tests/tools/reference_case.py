"""What a contestant of `reference_speed` is asked, and what all of them are given: the same numbers to learn from."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tests.tools.draws import draw

REAL_TOKENS = 40  # of the prompt at most; the rest of its places is the learned padding
TIME = 0.6
ADAPTED = "adapted.json"


@dataclass(frozen=True)
class Task:
    """One contestant. `code` is `stability` or `woodshed`, `base` how the frozen weights are kept.

    `lend_products` is for Stability's (see `reference_stability`). `folder` holds the checkpoint in Stability's layout;
    `ADAPTED` beside it names the layers that get an adapter, in Stability's words, and is written by Woodshed's
    contestant.
    """

    code: str
    adapter: str
    base: str
    checkpointing: bool
    compile: bool
    lend_products: bool
    checkout: str
    folder: str
    targets: str
    frames: int
    rank: int
    threads: int
    steps: int
    warm_up: int

    @property
    def names_file(self) -> Path:
        return Path(self.folder).parent / ADAPTED


@dataclass
class Contestant:
    """Ready to train: `loss` is a forward pass on the case; `longest_gradient` clips the norm, None where it is not.

    `products` is to surround the backward pass. `keeps_gradients`: their memory is used again by the next step.
    """

    loss: Callable[[], torch.Tensor]
    parameters: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    longest_gradient: float | None
    products: AbstractContextManager[Any] = field(default_factory=nullcontext)
    keeps_gradients: bool = False


@dataclass
class Case:
    """One clip: latents, noise (1, channels, frames), time t (1,), tokens (tokens, width), length in seconds."""

    latents: torch.Tensor
    noise: torch.Tensor
    t: torch.Tensor
    tokens: torch.Tensor
    seconds: float


def read_config(folder: str) -> dict[str, Any]:
    return json.loads((Path(folder) / "model_config.json").read_text())


def make_case(task: Task) -> Case:
    config = read_config(task.folder)
    channels = config["model"]["io_channels"]
    samples = config["model"]["pretransform"]["config"]["downsampling_ratio"] * task.frames
    conditioning = config["model"]["conditioning"]
    tokens = min(REAL_TOKENS, conditioning["configs"][0]["config"]["max_length"])
    return Case(
        latents=draw("latents", 1, channels, task.frames),
        noise=draw("noise", 1, channels, task.frames),
        t=torch.tensor([TIME]),
        tokens=draw("tokens", tokens, conditioning["cond_dim"]),
        seconds=float(-(-samples // config["sample_rate"])),
    )
