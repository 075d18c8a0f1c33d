"""The command `woodshed bench`: what is measured, where it goes, a table of it all."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from finetune.bench.figures import Grid, Part, PartName
from finetune.command_line import AsJson, words
from finetune.errors import WoodshedError

if TYPE_CHECKING:
    from finetune.base_model.storage import Precision
    from finetune.bench.training import Measured, Wanted

app = typer.Typer(rich_markup_mode="markdown")

PARTS = tuple(PartName)
IN_A_FILE = 180
"""Characters of a wide table's line where it goes to no terminal."""


class Size(StrEnum):
    SMALL = "small"
    MEDIUM = "medium"


class Kind(StrEnum):
    LORA = "lora"
    DORA = "dora"


class BaseDtype(StrEnum):
    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"
    NF4 = "nf4"


@app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    size: Annotated[Size, typer.Option(help="Size of the base; its weights are random.")] = Size.SMALL,
    frames: Annotated[int, typer.Option(min=2, help="Latents of a clip; 216 are 20 s.")] = 216,
    adapter: Annotated[Kind, typer.Option(help="Kind of the adapter, on every layer.")] = Kind.LORA,
    base_dtype: Annotated[
        BaseDtype | None, typer.Option(help="How the base lies in memory. Unsaid: bf16 on a GPU, else fp32.")
    ] = None,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the adapter.")] = 16,
    batch_size: Annotated[int, typer.Option(min=1, help="Clips in a step.")] = 1,
    checkpointing: Annotated[
        bool, typer.Option("--checkpointing", help="Compute activations again in the backward pass.")
    ] = False,
    compile: Annotated[
        bool, typer.Option("--compile", help="Compile the blocks with torch.compile.")
    ] = False,
    optimizer: Annotated[str, typer.Option(help="As optimizer.name in a recipe.")] = "adamw8bit",
    steps: Annotated[int, typer.Option(min=1, help="Steps that are timed.")] = 5,
    device: Annotated[
        str | None, typer.Option(help="cpu or cuda. Unsaid: the GPU where there is one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what a training step costs on this machine, on random weights of a real base's size.

    The roofline is how long the step's products would take at the speed of one large product here, or the reading
    of its weights at the speed of one large copy. `woodshed bench starter` measures the embedded base.

    Example: woodshed bench --size medium --frames 512 --adapter dora --base-dtype nf4 --checkpointing
    """
    if context.invoked_subcommand is not None:
        return
    import torch

    from finetune.bench.training import Wanted, measure

    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = base_dtype or (BaseDtype.BF16 if place.type == "cuda" else BaseDtype.FP32)
    wanted = Wanted(
        size.value,
        frames,
        adapter.value,
        PRECISIONS[dtype],
        rank,
        batch_size,
        checkpointing,
        optimizer,
        steps,
        compile,
    )
    measured = measure(wanted, place)
    if as_json:
        print(json.dumps({"ok": True, "wanted": asdict(wanted), **asdict(measured)}))
        return
    words.print(step_table(wanted, measured))


PRECISIONS: dict[BaseDtype, Precision] = {
    BaseDtype.FP32: "float32",
    BaseDtype.BF16: "bfloat16",
    BaseDtype.INT8: "int8",
    BaseDtype.NF4: "nf4",
}


def step_table(wanted: Wanted, measured: Measured) -> Table:
    shown = Table("A training step", "", title=f"{wanted.size}, {wanted.adapter} of rank {wanted.rank}")
    giga = 1e9
    for name, value in {
        "base": f"{wanted.size} in {wanted.precision}, {wanted.frames} latents, batch {wanted.batch_size}",
        "device": f"{measured.device}, {measured.threads} threads",
        "step": f"{measured.step_seconds:.3f} s, {measured.steps_per_second:.2f} steps/s",
        "audio": f"{measured.audio_seconds_per_second:.1f} seconds of audio a second",
        "peak memory": f"{measured.peak_memory_bytes / giga:.2f} GB",
        "arithmetic": f"{measured.achieved_flops_per_second / giga:.0f} GFLOP/s "
        f"of {measured.product_flops_per_second / giga:.0f} in a large product",
        "roofline": f"{measured.roofline_seconds:.3f} s: {100 * measured.roofline_share:.0f} % of the step",
        "adapter": f"{measured.adapter_parameters / 1e6:.2f} M weights",
    }.items():
        shown.add_row(name, value)
    return shown


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


@app.command("prep-speed")
def prep_speed(
    hours: Annotated[str, typer.Option(help="Hours of sound, with commas between several.")] = "1",
    single: Annotated[
        bool, typer.Option("--single", help="All of it in one recording, not 51 for each hour.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes at once; unsaid: one for each core.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Folder for sound and datasets, 1.7 GB an hour; unsaid: the system's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Data preparation: minutes, core-seconds and peak memory for so many hours of recordings.

    The recordings are drums made for it, and deleted again.

    Example: woodshed bench prep-speed --hours 1,10
    """
    from finetune.bench import preparation

    try:
        lengths = [float(each) for each in hours.split(",")]
    except ValueError:
        lengths = []
    if not lengths or min(lengths) <= 0:
        raise typer.BadParameter(f"'{hours}' are no hours; write 1 or 1,10.", param_hint="--hours")
    measured = preparation.measure(lengths, single, workers, folder)
    if as_json:
        print(json.dumps({"ok": True, "prepared": [each.as_dict() for each in measured]}))
        return
    words.print(preparation.table(measured))
    words.print(f"{measured[-1].workers} workers; load of the machine before: {measured[-1].load:.1f}")


@app.command("prep")
def slicing(
    recordings: Annotated[
        Path,
        typer.Option(
            envvar="WOODSHED_RECORDINGS",
            help="Folder with takes/ and their truth (JSON), loops/ and one_shots/.",
        ),
    ] = Path("../shared/recordings"),
    grooves: Annotated[
        int, typer.Option(min=1, help="Grooves of each player in each room, built from one_shots/.")
    ] = 3,
    seed: Annotated[int, typer.Option(help="Other seeds, other grooves.")] = 2027,
    as_json: AsJson = False,
) -> None:
    """What `woodshed prep` hears and cuts, against recordings whose truth is known; librosa beside it.

    Onsets, tempo with and without a range, bars at every downbeat, lengths of slices, of takes, loops, and grooves
    played on other kits, in noise, in rooms, softly, and with a tempo that drifts. Some two minutes on one core.

    Example: woodshed bench prep --recordings ../shared/recordings
    """
    from finetune.bench.slicing import benchmark

    part = benchmark(recordings, grooves, seed)
    _report_part(part, "Preparation, measured", as_json)


@app.command()
def copies(
    recordings: Annotated[
        Path,
        typer.Option(
            envvar="WOODSHED_RECORDINGS",
            help="Folder with takes/ and their truth (JSON), loops/ and one_shots/.",
        ),
    ] = Path("../shared/recordings"),
    clips: Annotated[int, typer.Option(min=1, help="Training clips of each player, at most.")] = 3,
    autoencoder: Annotated[
        bool, typer.Option(help="Copies through the starter's autoencoder too, as a model makes them.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Other seeds, other playing.")] = 2027,
    as_json: AsJson = False,
) -> None:
    """Near copies planted among ten players: what is found of them, and false alarms where nothing was copied.

    Copies are made quieter, noisy, dull, compressed, cut, stretched, retuned, and through the autoencoder. Some
    minutes on one core.

    Example: woodshed bench copies --recordings ../shared/recordings
    """
    from finetune.bench.copies import benchmark

    part = benchmark(recordings, clips, seed, autoencoder)
    _report_part(part, "Near copies, measured", as_json)


@app.command()
def proof(
    out: Annotated[Path, typer.Option(help="Folder for takes, datasets, runs and their evaluations.")] = Path(
        "proof"
    ),
    sounds: Annotated[int, typer.Option(min=2, help="As of woodshed evaluate.")] = 4,
    seeds: Annotated[int, typer.Option(min=1, help="As of woodshed evaluate.")] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps of every sound.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Evaluations of three runs whose truth is known: a good one, one that knows four clips by heart, an untrained one.

    Some ten minutes on two cores, most of it the trainings.

    Example: woodshed bench proof --out proof
    """
    from finetune.bench.proof import benchmark
    from finetune.evaluation.score import Settings

    part = benchmark(out, Settings(sounds=sounds, seeds=seeds, steps=steps))
    _report_part(part, "Evaluations, measured", as_json)


def _report_part(part: Part, title: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"ok": True, "parts": {part.name: part.as_json()}}))
        return
    words.print(table([part], title))
    for grid in part.grids:
        words.print(grid_table(grid), width=None if words.is_terminal else IN_A_FILE)
    for note in part.notes:
        words.print(escape(note))


def table(parts: list[Part], title: str = "The starter base, measured") -> Table:
    """Every figure of every part."""
    shown = Table("Figure", "Measured", "Target", "Reached", title=title)
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
