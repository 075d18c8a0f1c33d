"""What a training step costs at the size of a real base, with random weights: `woodshed bench --size small`."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from finetune.adapter import Adapter, AdapterSettings, attach
from finetune.base_model import BaseModel
from finetune.base_model.compiled import compile_blocks
from finetune.base_model.distinct import compute_padding_once
from finetune.base_model.lean_blocks import keep_less
from finetune.base_model.random_base import random_base
from finetune.base_model.recompute import recompute_blocks
from finetune.base_model.storage import Precision
from finetune.example import example_batch
from finetune.loss import batch_loss
from finetune.memory import peak_bytes, reset_peak, settle
from finetune.optimizer import make_optimizer
from finetune.progress import progress_bar
from finetune.recipe import OptimizerGroup

WARM_UP = 2
PRODUCT = {"cuda": 8192, "cpu": 2048}  # rows and columns of the product that finds the machine's own speed
COPIED_BYTES = {"cuda": 2**30, "cpu": 2**28}


@dataclass(frozen=True)
class Wanted:
    """What to measure. `frames` latents of one clip; `compile`: regional torch.compile."""

    size: str = "small"
    frames: int = 216
    adapter: str = "lora"
    precision: Precision = "bfloat16"
    rank: int = 16
    batch_size: int = 1
    checkpointing: bool = False
    optimizer: str = "adamw8bit"
    steps: int = 5
    compile: bool = False


@dataclass(frozen=True)
class Measured:
    """A training step: forward, backward, optimizer. The roofline is the time that its products, or the reading of
    its weights, take at the speed that a large product and a large copy reach on this machine."""

    steps_per_second: float
    audio_seconds_per_second: float
    peak_memory_bytes: int
    achieved_flops_per_second: float
    product_flops_per_second: float
    copy_bytes_per_second: float
    roofline_seconds: float
    roofline_share: float
    step_seconds: float
    step_flops: int
    adapter_parameters: int
    device: str
    threads: int


def measure(wanted: Wanted, device: torch.device) -> Measured:
    with progress_bar("Measuring", WARM_UP + wanted.steps) as report:
        report(0, "making random weights")
        base = random_base(wanted.size, wanted.precision, device)
        adapter = attached(base, wanted)
        step = make_step(base, adapter, wanted)
        with FlopCounterMode(display=False) as counter:
            step()
        reset_peak(device)
        seconds = []
        for number in range(1, WARM_UP + wanted.steps + 1):
            began = time.perf_counter()
            step()
            _wait(device)
            seconds.append(time.perf_counter() - began)
            report(number, f"{1 / seconds[-1]:.2f} steps/s")
    peak = peak_bytes(device)
    median = statistics.median(seconds[WARM_UP:])
    product, copy = product_speed(base.dtype, device), copy_speed(device)
    flops = counter.get_total_flops()
    stored = sum(t.nbytes for t in (*base.transformer.parameters(), *base.transformer.buffers()))
    roofline = max(flops / product, 2 * stored / copy)
    clip_seconds = wanted.frames * base.samples_per_latent / base.sample_rate
    return Measured(
        steps_per_second=1 / median,
        audio_seconds_per_second=wanted.batch_size * clip_seconds / median,
        peak_memory_bytes=peak,
        achieved_flops_per_second=flops / median,
        product_flops_per_second=product,
        copy_bytes_per_second=copy,
        roofline_seconds=roofline,
        roofline_share=roofline / median,
        step_seconds=median,
        step_flops=flops,
        adapter_parameters=sum(parameter.numel() for parameter in adapter.parameters()),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
    )


def attached(base: BaseModel, wanted: Wanted) -> Adapter:
    settings = AdapterSettings(wanted.adapter, wanted.rank, float(wanted.rank), "all")
    adapter = attach(base, settings)
    adapter.train(True)
    spare_work(base, wanted.checkpointing, wanted.compile)
    return adapter


def spare_work(base: BaseModel, checkpointing: bool, compile: bool) -> None:
    """Make steps as cheap as they are in training, with every block or none computed again."""
    compute_padding_once(base)
    if compile:
        compile_blocks(base.transformer)
    else:
        keep_less(base.transformer, base.rounded)
    if checkpointing:
        recompute_blocks(base.transformer, len(base.transformer.transformer_blocks), dropout=False)
    settle(checkpointing)


def make_step(base: BaseModel, adapter: Adapter, wanted: Wanted) -> Callable[[], None]:
    optimizer = make_optimizer(OptimizerGroup(name=wanted.optimizer), adapter.named_parameters())  # type: ignore[arg-type]
    batch = example_batch(base, wanted.batch_size, wanted.frames)

    def step() -> None:
        batch_loss(base, batch).backward()
        torch.nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    return step


def product_speed(dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations a second of a large square product."""
    side = PRODUCT[device.type]
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / _fastest(lambda: one @ other, device)


def copy_speed(device: torch.device) -> float:
    """Bytes a second that are read and written in copying a large tensor."""
    source = torch.ones(COPIED_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _fastest(lambda: target.copy_(source), device)


def _fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of five times, after one that is not counted."""
    seconds = []
    for _ in range(6):
        began = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
