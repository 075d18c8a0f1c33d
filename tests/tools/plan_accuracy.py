"""How well `woodshed plan` foretells the peak memory of `woodshed train`, in eight recipes.

    python -m tests.tools.random_checkpoint small random-small
    python -m tests.tools.plan_accuracy random-small [--only NUMBER ...]

Each recipe is planned and then trained for three steps, samples included, each in a process of its own, on two takes of
noise. The peak of training is the largest resident memory of its process, as the system counts it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

WOODSHED = (sys.executable, "-m", "finetune")
SECONDS = 20.0  # of a take
COMMON = (
    "training.steps=3",
    "validation.every=100",
    "samples.every=100",
    "samples.steps=2",
    "training.silence_seconds=0",
)
RECIPES = (
    ("starter", "adapter.rank=16"),
    ("starter", "adapter.kind=dora", "training.batch_size=8", "data.crop_seconds=10"),
    ("starter", "training.batch_size=4", "training.gradient_checkpointing=on", "optimizer.name=adamw"),
    ("small", "base.dtype=float32"),
    ("small", "base.dtype=float32", "adapter.kind=dora", "adapter.rank=64", "optimizer.name=adamw"),
    ("small", "base.dtype=bfloat16", "training.gradient_checkpointing=on"),
    ("small", "base.dtype=nf4", "adapter.targets=attention", "data.crop_seconds=10"),
    ("small", "base.dtype=int8", "training.batch_size=2", "samples.every=0"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.plan_accuracy", description=__doc__)
    parser.add_argument("folder", type=Path, help="a base of the size small")
    parser.add_argument("--only", type=int, nargs="*", default=range(1, len(RECIPES) + 1))
    arguments = parser.parse_args()
    worst = 0.0
    with tempfile.TemporaryDirectory(dir=arguments.folder.resolve().parent) as place:
        os.environ["HF_HOME"] = f"{place}/huggingface"
        dataset = make_dataset(Path(place))
        for number in arguments.only:
            size, *changes = RECIPES[number - 1]
            model = "starter" if size == "starter" else arguments.folder.resolve()
            recipe = Path(place) / f"{number}.yaml"
            recipe.write_text(f"name: run{number}\n")
            words = [
                f"base.model={model}",
                f"data.dataset={dataset}",
                f"output.root={place}/runs",
                *COMMON,
                *changes,
            ]
            planned = int(said([sys.executable, "-m", "finetune.plan_peak", str(recipe), *words]))
            trained = peak([*WOODSHED, "train", str(recipe), *words])
            worst = max(worst, abs(planned / trained - 1))
            print(f"{number} {size} {' '.join(changes)}")
            error = f"{100 * (planned / trained - 1):+.1f} %"
            print(f"  planned {planned / 1e9:.2f} GB, trained {trained / 1e9:.2f} GB: {error}", flush=True)
    print(f"largest error {100 * worst:.1f} %")


def make_dataset(place: Path) -> Path:
    (place / "takes").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).uniform(-0.5, 0.5, (round(44100 * SECONDS), 2))
        soundfile.write(place / "takes" / f"noise{number}.wav", noise, 44100)
    rights = ["--basis", "own_recording", "--recorded-by", "nobody"]
    said(
        [
            *WOODSHED,
            "prep",
            f"{place}/takes",
            f"{place}/dataset",
            "--slice",
            "whole",
            "--validation",
            "0.5",
            *rights,
        ]
    )
    return place / "dataset"


def said(command: list[str]) -> str:
    """The last line on stdout. RuntimeError, with what was said, where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr}")
    return (done.stdout.strip().splitlines() or [""])[-1]


def peak(command: list[str]) -> int:
    """Bytes of memory that the command took at most."""
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(command, stdout=words, stderr=words)
        _, status, usage = os.wait4(process.pid, 0)
        words.seek(0)
        if status:
            raise RuntimeError(f"{' '.join(command)}:\n{words.read()}")
    return usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
