"""The command `woodshed bench`: what is measured, where it goes, a table of it all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from finetune.bench.figures import Grid, Part, PartName
from finetune.command_line import AsJson, words
from finetune.errors import WoodshedError

app = typer.Typer(
    help="Measure Woodshed on this machine: every figure with its target.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

PARTS = tuple(PartName)


@app.callback()
def bench() -> None:
    """Measure Woodshed on this machine: every figure with its target."""


@app.command()
def starter(
    only: Annotated[
        str | None, typer.Option(help=f"Some of the parts, with commas between: {', '.join(PARTS)}.")
    ] = None,
    recordings: Annotated[
        Path | None,
        typer.Option(
            envvar="WOODSHED_RECORDINGS",
            help="Folder of real percussion with takes/, loops/ and one_shots/; without it, parts are left out.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for bench.json and the page index.html.")] = Path("bench"),
    hits: Annotated[int, typer.Option(min=1, help="Hits of each of five classes.")] = 20,
    loops: Annotated[int, typer.Option(min=2, help="Loops from 80 to 170 BPM.")] = 60,
    minutes: Annotated[
        float, typer.Option(min=0.01, max=10, help="About how long to train on each player.")
    ] = 8.0,
    seeds: Annotated[int, typer.Option(min=1, help="Sounds for each held-out clip of a player.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps of every sound.")] = 50,
    guidance: Annotated[float, typer.Option(help="Guidance of every sound.")] = 4.0,
    as_json: AsJson = False,
) -> None:
    """The starter base: autoencoder, prompts, tempo, fine-tuning, speed.

    Everything takes about an hour on two cores, most of it the three trainings. The page has the sounds.

    Example: woodshed bench starter --only autoencoder,speed --recordings ../shared/recordings
    """
    chosen = _parts(only)
    if recordings is not None and not (recordings / "takes").is_dir():
        raise WoodshedError(
            f"'{recordings}' has no folder takes/: --recordings names a folder with takes/, loops/ and one_shots/."
        )
    from finetune.bench.starter import Plan, run
    from finetune.bench.starter import as_json as document

    plan = Plan(recordings, out, hits, loops, minutes, seeds, steps, guidance)
    parts = run(plan, [PartName(name) for name in chosen])
    if as_json:
        print(json.dumps({"ok": True, "page": str(out / "index.html"), "parts": document(parts)}))
        return
    words.print(table(parts))
    for grid in (grid for part in parts for grid in part.grids):
        words.print(grid_table(grid))
    for part in parts:
        if part.left_out:
            words.print(f"Left out: {part.name}, {escape(part.left_out)}")
    words.print(f"To hear and to see: {escape(str(out / 'index.html'))}")


def table(parts: list[Part]) -> Table:
    """Every figure of every part."""
    shown = Table("Figure", "Measured", "Target", "Reached", title="The starter base, measured")
    for part in parts:
        if part.figures:
            shown.add_section()
            shown.add_row(f"[bold]{escape(part.title)}[/]")
        for figure in part.figures:
            verdict = {None: "", True: "[green]reached[/]", False: "[red]not reached[/]"}[figure.reached]
            shown.add_row(f"  {escape(figure.name)}", figure.text, figure.target, verdict)
    return shown


def grid_table(grid: Grid) -> Table:
    shown = Table(*grid.head, title=escape(grid.title))
    for row in grid.rows:
        shown.add_row(*(escape(value) for value in row))
    return shown


def _parts(only: str | None) -> list[str]:
    """The names given, each known; none for all. Raises typer.BadParameter."""
    chosen = [name.strip() for name in (only or "").split(",") if name.strip()]
    for name in chosen:
        if name not in PARTS:
            raise typer.BadParameter(
                f"'{name}' is no part; the parts are {', '.join(PARTS)}.", param_hint="--only"
            )
    return chosen
