"""One run by several processes, as `accelerate launch` or `torchrun` starts them.

Each computes its share of a step's passes (`training.gradient_accumulation`) and gets the gradients of all, which are
added in the order in which one process would add them: a run is the same run, to the last bit where processors round
alike, however many processes work on it. Adapters are small, so that whole gradients can be passed around. The base
each has for itself, or a part of it (`base.shard`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import nn

from finetune.base_model import BaseModel
from finetune.base_model.sharding import Shards
from finetune.errors import WoodshedError
from finetune.interrupt import Requests
from finetune.progress import say
from finetune.rank import is_main, processes

PATIENCE = timedelta(hours=6)  # while one process encodes, samples or saves, the others wait


def make_accelerator(cpu: bool, passes: int) -> Accelerator:
    """Raises WoodshedError when `passes` of a step cannot be shared evenly."""
    if passes % processes():
        raise WoodshedError(
            f"training.gradient_accumulation is {passes}, which {processes()} processes cannot share evenly. Set it to "
            f"{processes() * -(-passes // processes())}, with a smaller training.batch_size for the same step."
        )
    if processes() > 1:
        say(f"{processes()} processes share each step.")
    waits = InitProcessGroupKwargs(timeout=PATIENCE)
    return Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[waits])


def device_of(accelerator: Accelerator) -> torch.device:
    """Where this process works. A processor has no number, though Accelerate gives it one: what is moved to a device
    of another name is copied."""
    return torch.device("cpu") if accelerator.device.type == "cpu" else accelerator.device


def shard(accelerator: Accelerator, base: BaseModel) -> None:
    """Cut the blocks of `base`, adapters in place, over the processes, each part where its process works. One process
    keeps them whole. Raises WoodshedError when the processes have different bases."""
    if accelerator.num_processes == 1:
        return
    kind = f"{base.fingerprint} {base.dtype} {[p.dtype for p in base.transformer.parameters()]}"
    number = int.from_bytes(hashlib.sha256(kind.encode()).digest()[:7])
    numbers: Any = accelerator.gather(torch.tensor([number], device=accelerator.device))
    if len(numbers.unique()) > 1:
        raise WoodshedError(
            "base.shard: the processes do not have the same base in the same type, so they cannot keep parts of one. "
            "Give them the same files, and base.dtype another value than auto."
        )
    base.shards = Shards(base.transformer, device_of(accelerator))


@contextmanager
def main_first(accelerator: Accelerator, base: BaseModel) -> Iterator[None]:
    """What is within is done by one process and then by the others. The base must not be asked by these any more;
    of what is sharded they give their parts to the first."""
    if base.shards is None:
        with accelerator.main_process_first():
            yield
    elif is_main():
        with base.shards.leading():
            yield
    else:
        base.shards.follow()
        yield


def main_only(base: BaseModel, work: Callable[[], object]) -> None:
    """Have one process do `work`; the others go on, or give it their parts of a sharded base until it is done."""
    if base.shards is None:
        if is_main():
            work()
    elif is_main():
        with base.shards.leading():
            work()
    else:
        base.shards.follow()


class SharedGradients:
    """The gradients of one step's passes, over all processes."""

    def __init__(self, accelerator: Accelerator, parameters: list[nn.Parameter]) -> None:
        self.accelerator, self.parameters = accelerator, parameters
        self.sum: torch.Tensor | None = None

    def add_pass(self) -> None:
        """Take what the last backward passes left, one of each process, in the order of the passes."""
        if self.accelerator.num_processes == 1:
            return
        own = torch.cat([_gradient(parameter).flatten() for parameter in self.parameters])
        for gradient in self.accelerator.gather(own).view(-1, len(own)):
            self.sum = gradient.clone() if self.sum is None else self.sum.add_(gradient)
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad.zero_()

    def settle(self) -> None:
        """Give the parameters the sum over all passes."""
        if self.sum is None:
            return
        pieces = self.sum.split([parameter.numel() for parameter in self.parameters])
        for parameter, piece in zip(self.parameters, pieces, strict=True):
            parameter.grad = piece.view_as(parameter)


def agree(accelerator: Accelerator, losses: torch.Tensor, requests: Requests) -> torch.Tensor:
    """(passes,) losses of all processes in the order of the passes; what one was asked, all were asked."""
    asked = requests.take()
    if accelerator.num_processes == 1:
        requests.stop, requests.save = asked
        return losses
    flags = torch.tensor(asked, dtype=losses.dtype, device=losses.device)
    gathered: Any = accelerator.gather(torch.cat([losses, flags]))
    rows = gathered.view(accelerator.num_processes, -1)
    requests.stop, requests.save = (bool(rows[:, n].any()) for n in (-2, -1))
    return rows[:, :-2].T.flatten()


def _gradient(parameter: nn.Parameter) -> torch.Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
