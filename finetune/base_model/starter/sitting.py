"""What both trainings of the starter share: options, learning rate, saved state, and memory that is kept."""

from __future__ import annotations

import argparse
import ctypes
import math
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from finetune.files import write_file

SAVE_EVERY_SECONDS = 60


def read_options(description: str | None, **defaults: int | float) -> argparse.Namespace:
    """The command line: the folder `work`, and a number for each of `defaults`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    return parser.parse_args()


def training_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def keep_memory() -> None:
    """Let glibc keep freed memory: giving back and faulting in the same pages takes a third of a step on a CPU."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for option, value in ((-1, 2**31 - 1), (-2, 2**28), (-4, 0)):  # trim threshold, top pad, no mmap
            libc.mallopt(option, value)


def rate_at(learning_rate: float, warmup: int, step: int, steps: int) -> float:
    """A cosine from `learning_rate` to a fiftieth of it over `steps`, after a linear warm-up."""
    falling = 0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * step / steps))
    return learning_rate * min(1, (step + 1) / warmup) * falling


class Sitting:
    """A training that may be stopped at any time: tells where it is, and saves enough to go on exactly from there."""

    def __init__(
        self, path: Path, modules: dict[str, torch.nn.Module], optimizer: torch.optim.Optimizer
    ) -> None:
        self.path, self.modules, self.optimizer = path, modules, optimizer
        self.done = self._load() if path.exists() else 0
        self.began, self.first, self.saved = time.monotonic(), self.done, time.monotonic()
        self.smooth = 0.0

    def advance(self, loss: torch.Tensor, steps: int, say_every: int) -> None:
        """Count one step; say how it goes and save the state now and then, and at the end."""
        self.done += 1
        if self.done % say_every == 0:
            value = loss.item()
            self.smooth = 0.8 * self.smooth + 0.2 * value if self.smooth else value
            pace = (time.monotonic() - self.began) / (self.done - self.first)
            left = pace * (steps - self.done) / 60
            print(
                f"step {self.done} of {steps}  loss {value:.4f}, smooth {self.smooth:.4f}  {pace:.2f} s a step, "
                f"{left:.0f} min left",
                flush=True,
            )
        if self.done == steps or time.monotonic() - self.saved > SAVE_EVERY_SECONDS:
            self._save()
            self.saved = time.monotonic()

    def _save(self) -> None:
        tensors = {"done": torch.tensor(self.done)}
        for name, module in self.modules.items():
            tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in moments.items()}
        write_file(self.path, save({key: value.contiguous() for key, value in tensors.items()}))

    def _load(self) -> int:
        tensors = load_file(self.path)
        for name, module in self.modules.items():
            module.load_state_dict(_under(tensors, name))
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in _under(tensors, "optimizer").items():
            index, moment = key.split(".")
            state.setdefault(int(index), {})[moment] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        return int(tensors["done"])


def _under(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {
        key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")
    }
