"""What a DoRA step costs beside a LoRA step, the two in turn in one process: a machine's speed may drift.

    python -m tests.tools.dora_cost [--size small] [--base-dtype bfloat16] [--steps 10] [--threads 2]

Random weights, 216 latents, batch 1, rank 16 on every layer, PyTorch's AdamW. The first step of each is not timed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import get_args

import torch

from finetune.base_model.random_base import random_base
from finetune.base_model.storage import Precision
from finetune.bench.training import Wanted, attached, make_step

KINDS = "lora", "dora"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.dora_cost", description=__doc__)
    parser.add_argument("--size", default="small")
    parser.add_argument("--base-dtype", choices=get_args(Precision), default="bfloat16")
    parser.add_argument("--steps", type=int, default=10, help="of each kind")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    steps = {kind: step_of(kind, arguments.size, arguments.base_dtype) for kind in KINDS}
    for step in steps.values():
        step()
    seconds: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for _ in range(arguments.steps):
        for kind, step in steps.items():
            seconds[kind].append(timed(step))
    for number, clock in enumerate(("by the clock", "of the processor")):
        lora, dora = ([each[number] for each in seconds[kind]] for kind in KINDS)
        pairs = [after / before for before, after in zip(lora, dora, strict=True)]
        print(
            f"seconds {clock}: LoRA {statistics.median(lora):.2f}, DoRA {statistics.median(dora):.2f}; a DoRA step is "
            f"{statistics.median(pairs):.2f} of the LoRA step before it ({min(pairs):.2f} to {max(pairs):.2f})"
        )


def step_of(kind: str, size: str, precision: Precision) -> Callable[[], None]:
    wanted = Wanted(size, adapter=kind, precision=precision, optimizer="adamw")
    base = random_base(size, precision, torch.device("cpu"))
    return make_step(base, attached(base, wanted), wanted)


def timed(step: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - clock, time.process_time() - processor


if __name__ == "__main__":
    main()
