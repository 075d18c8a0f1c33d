"""One run by several processes, as `accelerate launch` or `torchrun` starts them.

Each computes its share of a step's passes (`training.gradient_accumulation`) and gets the gradients of all, which are
added in the order in which one process would add them: a run is the same run, to the last bit where processors round
alike, however many processes work on it. Adapters are small, so that whole gradients can be passed around.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import nn

from finetune.errors import WoodshedError
from finetune.interrupt import Requests
from finetune.rank import processes

PATIENCE = timedelta(hours=6)  # while one process encodes, samples or saves, the others wait


def make_accelerator(cpu: bool, passes: int) -> Accelerator:
    """Raises WoodshedError when `passes` of a step cannot be shared evenly."""
    if passes % processes():
        raise WoodshedError(
            f"training.gradient_accumulation is {passes}, which {processes()} processes cannot share evenly. Set it to "
            f"{processes() * -(-passes // processes())}, with a smaller training.batch_size for the same step."
        )
    waits = InitProcessGroupKwargs(timeout=PATIENCE)
    return Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[waits])


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
