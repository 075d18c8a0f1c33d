"""`woodshed plan`: what a recipe would take here, whether it fits, and what would make it fit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from finetune.advice import Changes, as_words, smaller
from finetune.command_line import AsJson, words
from finetune.errors import WoodshedError
from finetune.files import write_file
from finetune.progress import clock, say
from finetune.rank import is_main, processes
from finetune.train_command import Overrides

if TYPE_CHECKING:
    from finetune.plan import Plan
    from finetune.recipe import Recipe

BYTES = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
OUT_OF_MEMORY = -9, 137  # how a process ends that the system stopped for its memory


@dataclass(frozen=True)
class Fitting:
    """The changes that make a recipe fit, what each costs, and the peak they were measured to bring, in bytes."""

    changes: Changes
    costs: list[str]
    peak_bytes: int


def plan(
    recipe: Annotated[Path, typer.Argument(help="The YAML recipe, such as recipes/takes.yaml.")],
    changes: Overrides = None,
    fit: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory to fit into, such as 8GB; writes the recipe that does."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where --fit writes it. Unsaid: NAME-fit.yaml in this folder.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="What an hour on this machine costs, in your money.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a recipe would take on this machine: memory, time, disk, cost; and whether it fits.

    Each part of the run is done once, on the longest batch that can come: seconds to minutes. Started as several
    processes it measures one of them, with its part of the base by base.shard. Nothing is trained and
    nothing is written, but for the recipe that --fit asks for. Where it does not fit, the changes are named that make
    it fit, those first that cost least.

    Example: woodshed plan recipes/takes.yaml data.dataset=mykit --fit 8GB
    """
    from finetune.recipe import load_recipe

    read = load_recipe(recipe, changes or [])
    limit = None if fit is None else _bytes(fit)
    if limit and processes() > 1:
        raise WoodshedError(
            "--fit measures recipes in processes of its own: start it as one, without a launcher."
        )
    made = _measured(read)
    room = limit or (made.available_bytes if made else 0)
    fits = made is not None and made.peak_bytes <= room
    fitting = None if fits or processes() > 1 else _fit(recipe, read, changes or [], room)
    file = None
    if limit is not None and (fits or fitting):
        file = out or Path(f"{read.name}-fit.yaml")
        write_file(file, _text(recipe, changes or [], fitting).encode())
    if is_main() and as_json:
        print(json.dumps(_document(made, fitting, room, price, file)))
    elif is_main():
        if made is not None:
            words.print(_table(made, room, price))
        words.print(escape(_verdict(read, made, fitting, room, file)))
    if not (fits or fitting):
        raise typer.Exit(1)


def _measured(recipe: Recipe) -> Plan | None:
    """The plan, None where a step does not fit into the memory at all."""
    import torch

    from finetune.plan import make_plan

    try:
        return make_plan(recipe)
    except (torch.OutOfMemoryError, MemoryError):
        return None


def _fit(recipe: Path, read: Recipe, changes: list[str], room: int) -> Fitting | None:
    """Change after change, each on top of those before, until the peak, measured in a process of its own, fits."""
    together: Changes = {}
    costs: list[str] = []
    for cost, change in smaller(read, _on_gpu(read)):
        together |= change
        costs.append(f"{as_words(change)}: {cost}")
        peak = _peak_of(recipe, [*changes, *as_words(together).split()])
        say(f"With {as_words(together)}: " + (f"{peak / 1e9:.2f} GB" if peak else "out of memory"))
        if peak is not None and (peak <= room or not room):
            return Fitting(together, costs, peak)
    return None


def _on_gpu(recipe: Recipe) -> bool:
    import torch

    return recipe.training.device != "cpu" and torch.cuda.is_available()


def _peak_of(recipe: Path, changes: list[str]) -> int | None:
    command = [sys.executable, "-m", "finetune.plan_peak", str(recipe), *changes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode in OUT_OF_MEMORY:
        return None
    if done.returncode:
        raise WoodshedError((done.stderr.strip().splitlines() or ["The measuring failed."])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _text(recipe: Path, changes: list[str], fitting: Fitting | None) -> str:
    from finetune.recipe import load_recipe, to_yaml

    added = as_words(fitting.changes).split() if fitting else []
    whole = load_recipe(recipe, [*changes, *added])
    return f"# woodshed train {whole.name}-fit.yaml\n" + to_yaml(whole)


def _bytes(size: str) -> int:
    found = re.fullmatch(r"([0-9.]+)\s*([KMGT]?)i?B?", size.strip(), re.IGNORECASE)
    try:
        assert found
        return int(float(found[1]) * BYTES[found[2].upper()])
    except (AssertionError, ValueError) as error:
        raise typer.BadParameter(f"'{size}' is no size; write 8GB or 500MB.", param_hint="--fit") from error


def _cost(plan: Plan, price: float | None) -> float | None:
    return None if price is None else plan.seconds / 3600 * price


def _document(
    plan: Plan | None, fitting: Fitting | None, room: int, price: float | None, file: Path | None
) -> dict[str, Any]:
    facts: dict[str, Any] = {"ok": True, "room_bytes": room, "fits": bool(plan and plan.peak_bytes <= room)}
    if plan is not None:
        facts |= asdict(plan) | {"peak_bytes": plan.peak_bytes, "seconds": plan.seconds}
        facts |= {} if price is None else {"cost": _cost(plan, price)}
    return facts | {"fitting": asdict(fitting) if fitting else None, "recipe": str(file) if file else None}


def _table(plan: Plan, room: int, price: float | None) -> Table:
    shown = Table(
        "", "Largest memory", "Takes", title=escape(f"{plan.base} in {plan.precision} on {plan.device}")
    )
    for phase in plan.phases:
        shown.add_row(phase.name, f"{phase.peak_bytes / 1e9:.2f} GB", clock(phase.seconds))
    shown.add_section()
    there = f"{plan.peak_bytes / 1e9:.2f} GB of {room / 1e9:.2f}"
    shown.add_row("in all", there, clock(plan.seconds))
    shown.add_section()
    cost = _cost(plan, price)
    for name, value in {
        "adapter": f"{plan.adapter_parameters / 1e6:.2f} M weights on {plan.adapted_modules} layers",
        "clips": f"{plan.training_clips} to train on, {plan.held_out_clips} held out",
        "largest batch": f"{plan.largest_batch} of {plan.longest_frames} latents",
        "a step": f"{plan.step_seconds:.2f} s on it",
        "checkpointing": f"{plan.recomputed_blocks} of {plan.blocks} blocks are computed again",
        "disk": f"{plan.disk_bytes / 1e9:.2f} GB",
        "licence of the base": plan.licence or "no file",
        **({} if cost is None else {"cost": f"{cost:.2f}"}),
    }.items():
        shown.add_row(name, escape(value), "")
    return shown


def _verdict(recipe: Recipe, plan: Plan | None, fitting: Fitting | None, room: int, file: Path | None) -> str:
    lines = []
    if plan is not None and plan.peak_bytes <= room:
        lines.append(f"It fits: {plan.peak_bytes / 1e9:.2f} GB of {room / 1e9:.2f}.")
    elif processes() > 1:
        less = "; ".join(as_words(change) for _, change in smaller(recipe, _on_gpu(recipe)))
        lines.append(f"It does not fit into each of {processes()} processes. What needs less: {less}")
    elif fitting is None:
        lines.append("It does not fit, and nothing that a recipe can change makes it fit.")
    else:
        lines.append(
            f"It does not fit. With these changes it takes {fitting.peak_bytes / 1e9:.2f} GB, each measured:"
        )
        lines += [f"  {cost}" for cost in fitting.costs]
    if file is not None:
        lines.append(f"The recipe that fits is in {file}.")
    return "\n".join(lines)
