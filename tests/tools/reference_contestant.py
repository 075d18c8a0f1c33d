"""One contestant of `reference_speed`, in this process: python -m tests.tools.reference_contestant TASK (JSON).

Prints one JSON object on its last line.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import asdict, dataclass

import torch

from tests.tools import reference_stability
from tests.tools.memory import Peak, resident
from tests.tools.reference_case import Contestant, Task


@dataclass(frozen=True)
class Measured:
    """What one process saw; memory in bytes. `cpu_seconds` are those of all its threads: on a busy machine the fairer.

    `own` is memory of the process alone (RssAnon), `mapped` all that it sees (VmRSS, mapped files included), both the
    peak of the steps; `imported_…` the same after the imports alone; `high_water` (VmHWM) the peak of the whole
    process, loading included; `cuda` what PyTorch had allocated on the GPU at its peak, None without one.
    """

    step_seconds: list[float]
    cpu_seconds: list[float]
    losses: list[float]
    own: int
    mapped: int
    imported_own: int
    imported_mapped: int
    high_water: int
    cuda: int | None
    trained: int


def main() -> None:
    task = Task(**json.loads(sys.argv[1]))
    torch.set_num_threads(task.threads)
    if task.code == "stability":
        reference_stability.set_up()
    else:
        from tests.tools import reference_woodshed

        reference_woodshed.set_up()
    print(json.dumps(asdict(measure(task))))


def measure(task: Task) -> Measured:
    """The imports, then the steps. What only Woodshed needs is not imported for Stability's code."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if task.code == "stability":
        reference_stability.import_package(task.checkout)
        prepare = reference_stability.prepare
    else:
        from tests.tools import reference_woodshed

        reference_woodshed.import_all()
        prepare = reference_woodshed.prepare
    gc.collect()
    imported_own, imported_mapped = resident("RssAnon"), resident("VmRSS")
    contestant = prepare(task, device)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds, cpu_seconds, losses = [], [], []
    with Peak() as peak:
        for _ in range(task.warm_up + task.steps):
            began, cpu_began = time.perf_counter(), time.process_time()
            losses.append(step(contestant))
            seconds.append(time.perf_counter() - began)
            cpu_seconds.append(time.process_time() - cpu_began)
    return Measured(
        step_seconds=seconds[task.warm_up :],
        cpu_seconds=cpu_seconds[task.warm_up :],
        losses=losses,
        own=peak.own,
        mapped=peak.all,
        imported_own=imported_own,
        imported_mapped=imported_mapped,
        high_water=resident("VmHWM"),
        cuda=torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
        trained=sum(parameter.numel() for parameter in contestant.parameters),
    )


def step(contestant: Contestant) -> float:
    """One step of training, to its end on a GPU too; its loss."""
    loss = contestant.loss()
    with contestant.products:
        loss.backward()
    if contestant.longest_gradient is not None:
        torch.nn.utils.clip_grad_norm_(contestant.parameters, contestant.longest_gradient)
    contestant.optimizer.step()
    contestant.optimizer.zero_grad(set_to_none=not contestant.keeps_gradients)
    if loss.is_cuda:
        torch.cuda.synchronize()
    return float(loss.detach())


if __name__ == "__main__":
    main()
