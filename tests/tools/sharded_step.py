"""What a sharded base spares and costs: a training step with the whole base and with a part of it, in each process.

    torchrun --nproc_per_node 2 -m tests.tools.sharded_step --size small --base-dtype float32

Random weights of the real geometry, a LoRA of rank 16 on every layer, batch 1. Seconds are the median of the steps by
the clock, and those of the slowest processor by its own; memory is the largest of a process for itself (RssAnon, Linux)
while it trains. Both must leave the same gradients.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from finetune.adapter import Adapter, AdapterSettings, attach
from finetune.base_model import BaseModel
from finetune.base_model.random_base import SIZES, random_base
from finetune.bench.training import spare_work
from finetune.example import example_batch
from finetune.loss import batch_loss
from finetune.memory import settle
from finetune.processes import device_of, make_accelerator, shard
from finetune.rank import is_main, processes
from tests.tools.memory import Peak


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.sharded_step", description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--base-dtype", choices=("float32", "bfloat16", "int8", "nf4"), default="float32")
    parser.add_argument("--frames", type=int, default=216)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--steps", type=int, default=3)
    wanted = parser.parse_args()
    accelerator = make_accelerator(True, processes())
    base = random_base(wanted.size, wanted.base_dtype, device_of(accelerator))
    adapter = attach(base, AdapterSettings("lora", 16, 16.0, "all"))
    spare_work(base, wanted.checkpointing, compile=False)
    whole, expected = measured(base, adapter, wanted.frames, wanted.steps)
    shard(accelerator, base)
    settle(wanted.checkpointing)
    sharded, found = measured(base, adapter, wanted.frames, wanted.steps)
    for name, figures in (("whole", whole), ("sharded", sharded)):
        gathered: Any = accelerator.gather(torch.tensor([figures]))
        seconds, processor, own = gathered.amax(0).tolist()
        if is_main():
            print(f"{name:8} {seconds:.2f} s/step, {processor:.2f} s of a processor, own {own / 1e9:.2f} GB")
    print(f"the same gradients in both: {all(map(torch.equal, expected, found))}")


def measured(
    base: BaseModel, adapter: Adapter, frames: int, steps: int
) -> tuple[tuple[float, ...], list[torch.Tensor]]:
    """(seconds, seconds of the processor, bytes) of a forward and backward pass, the first aside, and its gradients."""
    batch = example_batch(base, 1, frames)
    seconds, processor = [], []
    batch_loss(base, batch).backward()  # to warm up
    with Peak() as peak:
        for _ in range(steps):
            for parameter in adapter.parameters():
                parameter.grad = None
            began, worked = time.perf_counter(), time.process_time()
            batch_loss(base, batch).backward()
            seconds.append(time.perf_counter() - began)
            processor.append(time.process_time() - worked)
    gradients = [parameter.grad.clone() for parameter in adapter.parameters() if parameter.grad is not None]
    return (statistics.median(seconds), statistics.median(processor), peak.own), gradients


if __name__ == "__main__":
    main()
