"""How fast the starter is here, on two threads: loading, generating, training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from finetune.bench.figures import Figure, Part
from finetune.bench.stopwatch import BATCH, CLIP_SECONDS, SOUND_SECONDS, SOUND_STEPS
from finetune.errors import WoodshedError
from finetune.progress import progress_bar

THREADS = 2
LOADS = 3


def benchmark() -> Part:
    """The part `speed`: each timing in a process of its own."""
    with progress_bar("Speed", LOADS + 1) as report:
        loads = []
        for number in range(LOADS):
            began = time.perf_counter()
            loads.append({**in_fresh_process("load"), "process_seconds": time.perf_counter() - began})
            report(number + 1, f"loaded in {loads[-1]['load_seconds']:.2f} s")
        work = in_fresh_process("work")
        report(LOADS + 1, "")
    fastest = {name: min(load[name] for load in loads) for name in loads[0]}
    return Part(
        name="speed",
        title=f"Speed on {THREADS} threads",
        figures=figures({**fastest, **work}),
        notes=[
            f"Each in a fresh process with {THREADS} threads; loading is the best of {LOADS}. A process that loads the "
            "starter first imports PyTorch, transformers and diffusers, which takes longer than the loading itself; "
            "both are stated.",
            f"A training step is forward, backward and optimizer of a LoRA of rank 16 on every layer, on {BATCH} clips "
            f"of {CLIP_SECONDS:g} s.",
        ],
        details={
            "loads": loads,
            **work,
            "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        },
    )


def figures(seconds: dict[str, float]) -> list[Figure]:
    """The timings with their targets."""
    return [
        Figure("loading the starter", seconds["load_seconds"], "s", at_most=3),
        Figure("the same with the import of all libraries", seconds["first_load_seconds"], "s"),
        Figure("the whole process that loads it twice", seconds["process_seconds"], "s"),
        Figure(
            f"{SOUND_SECONDS:g} s of sound in {SOUND_STEPS} steps", seconds["sound_seconds"], "s", at_most=10
        ),
        Figure(f"training step at batch {BATCH}", seconds["training_step_seconds"], "s", at_most=1),
    ]


def in_fresh_process(what: str) -> dict[str, float]:
    """What the stopwatch measures in a process of its own, on THREADS threads."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))
    command = [sys.executable, "-m", "finetune.bench.stopwatch", what, str(THREADS)]
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["no words"]
        raise WoodshedError(f"Timing '{what}' in a fresh process failed: {words[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
