"""Times and peak memory of a checkpoint in Stability's layout: loading it, one step of training, export, encoding.

    python -m tests.tools.random_checkpoint medium random-medium
    python -m tests.tools.full_size random-medium [--only load train export encode]

Each job is a process of its own, one after the other, the real command where there is one. Peaks are of memory that
the process holds for itself (RssAnon in /proc, looked at a hundred times a second) and of all that it sees, pages of
mapped files included (VmHWM); Linux only. The training step is of a LoRA of rank 16 on every layer, batch 1, on
`--frames` latents of noise, encoding included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.tools.memory import Peak, resident

JOBS = ("load", "train", "export", "encode")
FORMATS = ("stable-audio-3", "comfyui", "peft", "diffusers", "merged")
ENCODED_SECONDS = (30, 60, 120, 300)
WOODSHED = (sys.executable, "-m", "finetune")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.tools.full_size", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=JOBS, default=JOBS)
    parser.add_argument("--frames", type=int, default=216)
    parser.add_argument("--dtype", nargs="*", default=["bfloat16", "float32"], help="of the base")
    parser.add_argument("--seconds", type=int, nargs="*", default=ENCODED_SECONDS, help="of audio to encode")
    parser.add_argument("--to", nargs="*", choices=FORMATS, default=FORMATS[:-1])
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        os.environ["HF_HOME"] = f"{place}/huggingface"  # an empty cache: the first load is a first load
        for dtype in arguments.dtype:
            if "load" in arguments.only:
                load(folder, dtype)
            if {"train", "export"} & set(arguments.only):
                run = train(folder, Path(place) / dtype, dtype, arguments.frames)
                for form in arguments.to if "export" in arguments.only else ():
                    command = ["export", str(run), "--to", form, "--out", str(exported(run, form))]
                    say(f"export {form}, base in {dtype}", watched([*WOODSHED, *command]))
        if "encode" in arguments.only:
            for figures in in_process("_encode", folder, *arguments.seconds)["lengths"]:
                say("encode", figures)


def load(folder: Path, dtype: str) -> None:
    for which in ("first", "second"):
        say(f"{which} load, {dtype}", in_process("_load", folder, dtype))


def train(folder: Path, place: Path, dtype: str, frames: int) -> Path:
    """One step through `woodshed prep` and `woodshed train`; the folder of the run."""
    import numpy as np
    import soundfile

    (place / "takes").mkdir(parents=True)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (4096 * frames, 2))
    soundfile.write(place / "takes" / "noise.wav", noise, 44100)
    rights = ["--basis", "own_recording", "--recorded-by", "nobody"]
    watched([*WOODSHED, "prep", f"{place}/takes", f"{place}/dataset", "--slice", "whole", *rights])
    recipe = place / "recipe.yaml"
    recipe.write_text("name: step\n")
    settings = {
        "base.model": folder,
        "base.dtype": dtype,
        "data.dataset": place / "dataset",
        "data.crop_seconds": 4096 * frames / 44100,
        "training.steps": 1,
        "training.silence_seconds": 0,
        "optimizer.name": "adamw",
        "samples.every": 0,
        "output.root": place / "runs",
    }
    words = [f"{key}={value}" for key, value in settings.items()]
    figures = watched([*WOODSHED, "train", str(recipe), *words])
    step = json.loads((place / "runs/step/log.jsonl").read_text().splitlines()[-1])
    say(
        f"train one step, {dtype}",
        {**figures, "step_seconds": 1 / step["steps_per_second"], "loss": step["loss"]},
    )
    return place / "runs" / "step"


def exported(run: Path, form: str) -> Path:
    return run.parent / (
        f"{form}.safetensors" if form in ("stable-audio-3", "comfyui", "diffusers") else form
    )


def _load(folder: str, dtype: str) -> dict[str, Any]:
    import torch

    from finetune.base_model import load_base

    import_all()
    before = resident("RssAnon")
    with Peak() as peak:
        base = load_base(folder, getattr(torch, dtype))
    parts = (base.transformer, base.duration_embedder, base.autoencoder, base.text_encoder)
    tensors = {id(t): t for part in parts for t in (*part.parameters(), *part.buffers())}
    model = sum(tensor.nbytes for tensor in tensors.values())
    return {
        "seconds": peak.seconds,
        "model_gb": model / 1e9,
        "peak_over_model": (peak.own - before) / model,
        "peak_with_mapped_over_model": (peak.all - before) / model,
    }


def import_all() -> None:
    """Have libraries in memory before the measuring begins."""
    from finetune.base_model import load_base

    load_base("starter")


def _encode(folder: str, *lengths: str) -> dict[str, Any]:
    import torch

    from finetune.base_model import load_base

    base = load_base(folder, torch.bfloat16)
    base.text_encoder = None
    base.encode_audio(torch.zeros(1, 2, 44100))
    figures = []
    for seconds in map(int, lengths):
        audio = torch.rand(1, 2, 44100 * seconds) - 0.5
        before = resident("RssAnon")
        with Peak() as peak:
            base.encode_audio(audio)
        figures.append(
            {"audio_seconds": seconds, "seconds": peak.seconds, "added_gb": (peak.own - before) / 1e9}
        )
    return {"lengths": figures}


def watched(command: Sequence[str]) -> dict[str, Any]:
    """Run a command to its end. RuntimeError, with what it said, where it fails."""
    with tempfile.TemporaryFile("w+") as words:
        process = subprocess.Popen(command, stdout=words, stderr=words)
        with Peak(str(process.pid)) as peak:
            process.wait()
        words.seek(0)
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)}:\n{words.read()}")
    return {"seconds": peak.seconds, "peak_gb": peak.own / 1e9, "peak_with_mapped_gb": peak.all / 1e9}


def in_process(job: str, *arguments: object) -> dict[str, Any]:
    """What the function `job` of this file answers, in a process of its own."""
    command = [sys.executable, "-m", "tests.tools.full_size", job, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def say(what: str, figures: dict[str, Any]) -> None:
    words = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in figures.items()}
    print(f"{what:32}", "  ".join(f"{name} {value}" for name, value in words.items()), flush=True)


WITHIN: dict[str, Callable[..., dict[str, Any]]] = {"_load": _load, "_encode": _encode}

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in WITHIN:
        print(json.dumps(WITHIN[sys.argv[1]](*sys.argv[2:])))
    else:
        main()
