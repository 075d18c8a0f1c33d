"""`woodshed train` and `woodshed resume`: parse, call, print."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from finetune.command_line import STOPPED, AsJson, report, words
from finetune.rank import is_main

if TYPE_CHECKING:
    from finetune.sweep import Sweep
    from finetune.trainer import RunResult

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Keys of the recipe to change, such as training.steps=400."
    ),
]


def train(
    recipe: Annotated[Path, typer.Argument(help="The YAML recipe, such as recipes/starter.yaml.")],
    changes: Overrides = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", help="Train every combination of values given as KEY=A,B,C, and compare them."
        ),
    ] = False,
    wandb_sweep: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write such a grid as FILE for `wandb sweep`; nothing is trained."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train an adapter as a recipe says, into the run folder OUTPUT.ROOT/NAME.

    The base stays frozen; audio and captions are encoded once and cached. Ctrl-C saves a checkpoint and stops;
    woodshed resume goes on from it, bit for bit. SIGUSR1 saves one and goes on. Listen to samples/ while it runs.
    RUN/adapter is the adapter at the end, RUN/best the one with the lowest held-out loss. With evaluation.at_end=true
    the run is evaluated then, as by woodshed evaluate RUN.

    Runs of --sweep lie in OUTPUT.ROOT/NAME/, named by their values; the same command goes on with what was stopped.

    Example: woodshed train recipes/starter.yaml data.dataset=mykit
    """
    changes = changes or []
    if wandb_sweep:
        _write_wandb_sweep(wandb_sweep, recipe, changes, as_json)
        return
    if sweep:
        from finetune.sweep import run_sweep

        _report_sweep(run_sweep(recipe, changes), as_json)
        return
    from finetune.recipe import load_recipe

    read = load_recipe(recipe, changes)  # a typing error is told before seconds of imports
    if "WANDB_SWEEP_ID" in os.environ:  # its agent starts all of its runs under one name
        read.name += f"-{os.environ['WANDB_RUN_ID']}"
    from finetune.trainer import train as train_run

    _report(train_run(read), as_json)


def resume(
    run: Annotated[
        str,
        typer.Argument(
            help="The folder of a run that stopped, such as runs/mykit, or wandb:ENTITY/PROJECT/RUN, which is fetched."
        ),
    ],
    changes: Overrides = None,
    fork: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Go on as a new run beside this one; any change may be made then."),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Where a fetched run's folder is made.")] = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a run from its last checkpoint, exactly as if it had never stopped.

    Keys that would change what is learned are refused, unless a new run is begun there with --fork; others, and more
    training.steps, may be given. For a run from another machine data.dataset and base.model name where these lie here.

    Example: woodshed resume runs/mykit optimizer.learning_rate=2e-5 --fork mykit-gentle
    """
    folder, changes = Path(run), changes or []
    if run.startswith("wandb:"):
        from finetune.tracking.wandb_fetch import fetch_run

        folder = fetch_run(run, root, changes)
    elif root:
        raise typer.BadParameter("a run that lies here goes on where it lies; --root is for wandb:… alone.")
    from finetune.trainer import fork as fork_run
    from finetune.trainer import resume as resume_run

    _report(fork_run(folder, fork, changes) if fork else resume_run(folder, changes), as_json)


def _report(result: RunResult, as_json: bool) -> None:
    if not is_main():
        return
    from finetune.provenance import describe

    lines = [f"{result.status.capitalize()} at step {result.step} after {result.seconds / 60:.1f} min"]
    if result.verdict is not None:
        lines.append(result.verdict)
    if result.best is not None:
        lines.append(
            f"Best at step {result.best_step}, held-out loss {result.best_held_out_loss:.4f}: {result.best}"
        )
    if describe(result.adapter).signature == "unsigned":
        lines.append(f"What it was made from is stated and not signed: woodshed keys --sign {result.run}")
    if result.status != "stopped":
        lines.append(f"Hear it: woodshed generate {result.run} -p '…' -o hear.wav")
        _evaluate(result.run)
    report(result, as_json, escape("\n".join(lines)))
    if result.status == "stopped":
        raise typer.Exit(STOPPED)


def _evaluate(run: Path) -> None:
    """Evaluate a run that is over, where its recipe says so. What fails then does not make the training fail."""
    from finetune.errors import WoodshedError
    from finetune.run_folder import recipe_of

    group = recipe_of(run).evaluation
    if not group.at_end:
        return
    from finetune.evaluate_command import evaluate_at_end

    try:
        evaluate_at_end(run, group)
    except WoodshedError as error:
        words.print(escape(f"The run is done and was not evaluated: {error}"), soft_wrap=True)


def _report_sweep(done: Sweep, as_json: bool) -> None:
    if not as_json:
        table = Table(*done.runs[0].values, "best held out", "at step", "at the end", "base", "", box=None)
        for run in done.runs:
            numbers = (
                run.best_held_out_loss,
                run.best_step,
                run.held_out_loss_after,
                run.held_out_loss_before,
            )
            table.add_row(*run.values.values(), *map(_number, numbers), run.status)
        words.print(table)
    report(done, as_json, escape(f"{done.status.capitalize()}. The runs lie in {done.folder}"))
    if done.status == "stopped":
        raise typer.Exit(STOPPED)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def _write_wandb_sweep(out: Path, recipe: Path, changes: list[str], as_json: bool) -> None:
    from finetune.files import write_file
    from finetune.sweep import wandb_sweep

    write_file(out, wandb_sweep(recipe, changes).encode())
    report({"file": out}, as_json, escape(f"Start it with: wandb sweep {out}"))
