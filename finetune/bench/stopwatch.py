"""What `speed` times in a fresh process: python -m finetune.bench.stopwatch load|work THREADS, JSON on stdout.

`load`: seconds until the starter is loaded, imports and all, and for loading it again. `work`: seconds for four
seconds of sound in fifty steps, and for a training step at batch 8.
"""

from __future__ import annotations

import time

BEGAN = time.perf_counter()

import json  # noqa: E402
import statistics  # noqa: E402
import sys  # noqa: E402

SOUND_SECONDS, SOUND_STEPS = 4.0, 50
BATCH = 8
CLIP_SECONDS = 6.0
STEPS, WARM_UP = 5, 2


def time_load() -> dict[str, float]:
    """The first load imports PyTorch, transformers and diffusers on the way; the second is the starter alone."""
    from finetune.base_model import load_base

    load_base("starter")
    first = time.perf_counter()
    load_base("starter")
    return {"first_load_seconds": first - BEGAN, "load_seconds": time.perf_counter() - first}


def time_work(threads: int) -> dict[str, float]:
    import torch

    torch.set_num_threads(threads)
    return {"sound_seconds": _time_sound(), "training_step_seconds": _time_training_step()}


def _time_sound() -> float:
    """One sound, from the prompt to samples, after a short one that is not timed."""
    from finetune.base_model import load_base
    from finetune.generate import Request, generate

    base = load_base("starter")
    generate(base, Request("drum loop, 120 BPM", SOUND_SECONDS, steps=2))
    began = time.perf_counter()
    generate(base, Request("drum loop, 120 BPM", SOUND_SECONDS, steps=SOUND_STEPS))
    return time.perf_counter() - began


def _time_training_step() -> float:
    """Median of a few steps of the demo's recipe on random latents: forward, backward, optimizer."""
    import torch

    from finetune.adapter import AdapterSettings, attach
    from finetune.base_model import Conditions, load_base
    from finetune.batches import Batch
    from finetune.loss import batch_loss
    from finetune.optimizer import make_optimizer
    from finetune.recipe import OptimizerGroup

    base = load_base("starter")
    adapter = attach(base, AdapterSettings(rank=16, alpha=16.0, targets="all"))
    adapter.train(True)
    optimizer = make_optimizer(
        OptimizerGroup(name="adamw8bit", learning_rate=1e-3), adapter.named_parameters()
    )
    shape = BATCH, base.latent_channels, base.seconds_to_frames(CLIP_SECONDS)
    prompts = [base.encode_prompt("Instruments: Drum Kit. swung loop of kick and snare. BPM: 96")] * BATCH
    conditions = Conditions(prompts, torch.full((BATCH,), CLIP_SECONDS))
    seconds = []
    for _ in range(WARM_UP + STEPS):
        batch = Batch(torch.randn(shape), torch.randn(shape), torch.rand(BATCH), conditions)
        began = time.perf_counter()
        batch_loss(base, batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[WARM_UP:])


if __name__ == "__main__":
    timings = {"load": time_load, "work": lambda: time_work(int(sys.argv[2]))}
    print(json.dumps(timings[sys.argv[1]]()))
