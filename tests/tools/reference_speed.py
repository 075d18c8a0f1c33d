"""One step of training by Stability's own model and adapter code beside Woodshed's, in one run on this machine.

    python -m tests.tools.reference_speed CHECKOUT [--size small] [--frames 216] [--adapter lora dora]
        [--base-dtype fp32 bf16 int8 nf4] [--targets all] [--limit 600] [--json FILE]

CHECKOUT is a checkout of Stability-AI/stable-audio-3; beside Woodshed it needs einops and packaging. Both get the same
random weights, latents, noise, prompt and layers to adapt, batch 1 and torch's AdamW, and must come to the same loss.
Each contestant is a process of its own on `--threads` threads, one after the other, all of them again in each of
`--rounds`; seconds are the median of all its steps after the warm-up, memory the largest of its peaks. Stability's
code runs as in its trainer, which checkpoints always; Woodshed runs without and with checkpointing. int8 and NF4,
which only Woodshed has, are compared with Stability's bf16, or fp32 where that did not finish.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch

from finetune.adapter import TARGETS
from finetune.base_model.storage import Precision
from tests.tools.adapters import light
from tests.tools.random_checkpoint import default_dtype, write_checkpoint
from tests.tools.reference_case import Task
from tests.tools.reference_stability import ADAPTER_TYPES
from tests.tools.reference_woodshed import PRECISIONS
from tests.tools.stability_geometry import GEOMETRIES

BASES = [name for name, precision in PRECISIONS.items() if precision in get_args(Precision)]
REFERENCE_BASES = ("fp32", "bf16")
TIMES = ("step_seconds", "cpu_seconds")
SAME_LOSS = {"fp32": 1e-4, "bf16": 0.03}  # the first of a contestant, relative to Stability's


@dataclass(frozen=True)
class Result:
    """What came of a contestant; `measured` (fields of `Measured`) is None where it failed, and `failure` says why."""

    code: str
    adapter: str
    base: str
    checkpointing: bool
    compile: bool
    lend_products: bool
    measured: dict[str, Any] | None
    failure: str | None

    @property
    def name(self) -> str:
        """Woodshed's with what was switched on; Stability's trainer has no such switches."""
        if self.code == "stability":
            return self.code + (", fp32 products" if self.lend_products and self.base == "bf16" else "")
        switches = {"checkpointing": self.checkpointing, "compiled": self.compile}
        return ", ".join([self.code, *(word for word, on in switches.items() if on)])


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as place:
        os.environ["HF_HOME"] = f"{place}/huggingface"  # what loading keeps goes with the checkpoint
        folder = Path(place) / arguments.size
        write_checkpoint(folder, light(arguments.size), dtype=default_dtype(arguments.size))
        results = contest(list(tasks(arguments, folder)), arguments.rounds, arguments.limit)
    rows = [row(result, reference_of(result, results)) for result in results]
    print(table(rows))
    if arguments.json:
        report = {"machine": machine(), "asked": asked(arguments), "rows": rows}
        report["measured"] = [asdict(result) for result in results]
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    if any(result.failure for result in results):
        raise SystemExit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.tools.reference_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--size", choices=GEOMETRIES, default="small")
    parser.add_argument("--frames", type=int, default=216, help="latents; 216 are 20 seconds")
    parser.add_argument("--adapter", nargs="+", choices=ADAPTER_TYPES, default=list(ADAPTER_TYPES))
    parser.add_argument("--base-dtype", nargs="+", choices=BASES, default=["fp32", "bf16"])
    parser.add_argument("--targets", choices=TARGETS, default="all", help="layers with an adapter")
    parser.add_argument("--compile", action="store_true", help="Woodshed compiled as well")
    parser.add_argument(
        "--lend-products",
        action="store_true",
        help="products of Stability's bf16 step in fp32, for a processor that has none in bf16",
    )
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=1, help="steps before these that are not timed")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=600, help="seconds that one process may take")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def tasks(arguments: argparse.Namespace, folder: Path) -> Iterator[Task]:
    """Who runs in one round, in this order. Woodshed first: it says which layers are adapted."""
    for adapter in arguments.adapter:
        for base in arguments.base_dtype:
            task = Task(
                code="woodshed",
                adapter=adapter,
                base=base,
                checkpointing=False,
                compile=False,
                lend_products=arguments.lend_products,
                checkout=str(arguments.checkout),
                folder=str(folder),
                targets=arguments.targets,
                frames=arguments.frames,
                rank=arguments.rank,
                threads=arguments.threads,
                steps=arguments.steps,
                warm_up=arguments.warm_up,
            )
            yield task
            yield replace(task, checkpointing=True)
            if arguments.compile:
                yield replace(task, compile=True)
            if base in REFERENCE_BASES:
                yield replace(task, code="stability", checkpointing=True)


def contest(tasks: list[Task], rounds: int, limit: float) -> list[Result]:
    """A result for each task, of all its rounds. Who failed once runs no more."""
    attempts: list[list[Result]] = [[] for _ in tasks]
    for _ in range(rounds):
        for task, done in zip(tasks, attempts, strict=True):
            if not any(result.failure for result in done):
                done.append(run(task, limit))
    return [together(done) for done in attempts]


def run(task: Task, limit: float) -> Result:
    """One contestant in a process of its own; said on stderr when it is done."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(task.threads))
    command = [sys.executable, "-m", "tests.tools.reference_contestant", json.dumps(asdict(task))]
    measured, failure = None, None
    try:
        done = subprocess.run(
            command, env=os.environ | threads, capture_output=True, text=True, timeout=limit, check=False
        )
        if done.returncode == 0:
            measured = json.loads(done.stdout.splitlines()[-1])
        else:
            words = done.stderr.strip().splitlines()
            failure = words[-1] if words else f"ended by signal {-done.returncode}"
    except subprocess.TimeoutExpired:
        failure = f"over {limit:g} s"
    switches = task.checkpointing, task.compile, task.lend_products
    result = Result(task.code, task.adapter, task.base, *switches, measured, failure)
    said = failure if measured is None else f"{statistics.median(measured['step_seconds']):.3g} s a step"
    print(f"{task.adapter} {task.base} {result.name}: {said}", file=sys.stderr, flush=True)
    return result


def together(attempts: list[Result]) -> Result:
    """The rounds of one contestant as one result. Where the last one failed, it failed."""
    if attempts[-1].measured is None:
        return attempts[-1]
    all_measured = [attempt.measured for attempt in attempts if attempt.measured is not None]
    measured = dict(all_measured[0])
    for times in TIMES:
        measured[times] = [second for one in all_measured for second in one[times]]
    for peak in ("own", "mapped", "high_water", "cuda"):
        measured[peak] = None if measured[peak] is None else max(one[peak] for one in all_measured)
    return replace(attempts[0], measured=measured)


def reference_of(result: Result, results: list[Result]) -> Result | None:
    """Stability's result that this one is compared with. ValueError where the two did not train the same."""
    finished = {
        one.base: one
        for one in results
        if one.code == "stability" and one.adapter == result.adapter and one.measured is not None
    }
    if result.base in REFERENCE_BASES:
        reference = finished.get(result.base)
    else:
        reference = finished.get("bf16", finished.get("fp32"))
    if reference is None or result.measured is None or reference.measured is None:
        return None
    ours, theirs = result.measured, reference.measured
    if ours["trained"] != theirs["trained"]:
        raise ValueError(f"{result.name} trains {ours['trained']} numbers, Stability's {theirs['trained']}")
    apart = abs(ours["losses"][0] / theirs["losses"][0] - 1)
    if apart > SAME_LOSS.get(result.base, float("inf")):
        raise ValueError(f"{result.name} begins with the loss {ours['losses'][0]}, not {theirs['losses'][0]}")
    return reference


def row(result: Result, reference: Result | None) -> dict[str, Any]:
    """A line of the table: seconds are medians, memory in GB. Against Stability's code: `…_speed`, how many times as
    fast it is, and `…_ratio`, its memory as a share."""
    line: dict[str, Any] = {"adapter": result.adapter, "base": result.base, "code": result.name}
    line["failure"] = result.failure
    if result.measured is None:
        return line
    line |= _figures(result.measured)
    if reference is None or reference.measured is None:
        return line
    theirs = _figures(reference.measured)
    line["against"] = reference.base
    line |= {f"{times}_speed": theirs[times] / line[times] for times in TIMES}
    for memory in ("own_gb", "own_over_imports_gb", "mapped_gb", "mapped_over_imports_gb", "cuda_gb"):
        line[f"{memory}_ratio"] = None if line[memory] is None else line[memory] / theirs[memory]
    return line


def _figures(measured: dict[str, Any]) -> dict[str, Any]:
    figures: dict[str, Any] = {times: statistics.median(measured[times]) for times in TIMES}
    for memory in ("own", "mapped"):
        figures[f"{memory}_gb"] = measured[memory] / 1e9
        figures[f"{memory}_over_imports_gb"] = (measured[memory] - measured[f"imported_{memory}"]) / 1e9
    figures["high_water_gb"] = measured["high_water"] / 1e9
    figures["cuda_gb"] = None if measured["cuda"] is None else measured["cuda"] / 1e9
    figures["first_loss"] = measured["losses"][0]
    return figures


COLUMNS = (
    ("adapter", "adapter", ""),
    ("base", "base", ""),
    ("code", "code", ""),
    ("step_seconds", "s/step", ".3g"),
    ("step_seconds_speed", "times as fast", ".2f"),
    ("cpu_seconds", "CPU s/step", ".3g"),
    ("cpu_seconds_speed", "times as fast", ".2f"),
    ("own_gb", "own GB", ".2f"),
    ("own_gb_ratio", "of theirs", ".2f"),
    ("own_over_imports_gb", "over imports", ".2f"),
    ("own_over_imports_gb_ratio", "of theirs", ".2f"),
    ("mapped_gb", "all GB", ".2f"),
    ("mapped_gb_ratio", "of theirs", ".2f"),
    ("cuda_gb", "GPU GB", ".2f"),
    ("cuda_gb_ratio", "of theirs", ".2f"),
    ("first_loss", "first loss", ".5f"),
)


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown. What failed says so in the place of its seconds."""
    lines = [[title for _, title, _ in COLUMNS], ["---"] * len(COLUMNS)]
    for one in rows:
        cells = ["" if one.get(key) is None else format(one[key], spec) for key, _, spec in COLUMNS]
        if one["failure"]:
            cells[3] = one["failure"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine() -> dict[str, Any]:
    models = (
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    )
    return {
        "processor": next(models, platform.machine()),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": str(torch.__version__),
        "load_average": os.getloadavg()[0],
    }


def asked(arguments: argparse.Namespace) -> dict[str, Any]:
    return {key: value for key, value in vars(arguments).items() if key not in ("checkout", "json")}


if __name__ == "__main__":
    main()
