"""The command `woodshed`: parse, call, print. Everything heavy is imported by the verb that needs it."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from data_prep.command import prep
from data_prep.dataset import DatasetError
from data_prep.files import PrepError
from finetune.adapter_commands import convert, export, inspect
from finetune.bench.command import app as bench
from finetune.command_line import AsJson, words
from finetune.errors import WoodshedError
from finetune.generate_command import generate

if TYPE_CHECKING:
    from finetune.trainer import RunResult

app = typer.Typer(
    help="Turn your own percussion recordings into an adapter for Stable Audio 3, on your own machine.\n\n"
    "The road: prep a folder of recordings into a dataset, train an adapter on it, generate to hear it. "
    "Start with [bold]woodshed demo[/bold]: the whole road on an embedded library and base, in minutes on a CPU.",
    epilog="Every verb takes --json (one object on stdout, words on stderr). Exit codes: 0 done, 1 failed, "
    "2 wrong usage, 130 stopped with Ctrl-C.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("prep")(prep)
app.command("generate")(generate)
app.command("export")(export)
app.command("convert")(convert)
app.command("inspect")(inspect)
app.add_typer(bench, name="bench")
FAILED, STOPPED = 1, 130

Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[KEY=VALUE]...", help="Keys of the recipe to change, such as training.steps=400."
    ),
]


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="The YAML recipe, such as recipes/starter.yaml.")],
    changes: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Train an adapter as a recipe says, into the run folder OUTPUT.ROOT/NAME.

    The base stays frozen; audio and captions are encoded once and cached. Ctrl-C saves a checkpoint and stops;
    woodshed resume goes on from it, bit for bit. Listen to samples/ while it runs.

    Example: woodshed train recipes/starter.yaml data.dataset=mykit
    """
    from finetune.recipe import load_recipe

    read = load_recipe(recipe, changes or [])  # a typing error is told before seconds of imports
    from finetune.trainer import train as train_run

    _report_run(train_run(read), as_json)


@app.command()
def resume(
    run: Annotated[
        str,
        typer.Argument(
            help="The folder of a run that stopped, such as runs/mykit, or wandb:ENTITY/PROJECT/RUN, which is fetched."
        ),
    ],
    changes: Overrides = None,
    root: Annotated[Path | None, typer.Option(help="Where a fetched run's folder is made.")] = None,
    as_json: AsJson = False,
) -> None:
    """Go on with a run from its last checkpoint, exactly as if it had never stopped.

    Keys that would change what is learned are refused; others, and more training.steps, may be given. For a run from
    another machine data.dataset and base.model name where these lie here.
    """
    folder, changes = Path(run), changes or []
    if run.startswith("wandb:"):
        from finetune.tracking.wandb_fetch import fetch_run

        folder, changes = fetch_run(run, root, changes)
    from finetune.trainer import resume as resume_run

    _report_run(resume_run(folder, changes), as_json)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(min=0.1, help="About how long to train.")] = 3.0,
    as_json: AsJson = False,
) -> None:
    """The whole road on an embedded library and the embedded base, ending with audio to hear.

    A drummer with a kit and a feel of their own is synthesised (several takes), prepared, trained on, and the
    starter base and the adapted one are asked for the same things with the same seeds.
    """
    from finetune.demo import run_demo

    result = run_demo(out, minutes)
    _print(_plain(result), as_json, result.story())


def _report_run(result: RunResult, as_json: bool) -> None:
    lines = [f"{result.status.capitalize()} at step {result.step} after {result.seconds / 60:.1f} min"]
    before, after = result.held_out_loss_before, result.held_out_loss_after
    if before is not None and after is not None:
        lines.append(f"Held-out loss {before:.4f} → {after:.4f} ({100 * (after / before - 1):+.1f} %)")
    if result.status == "finished":
        lines.append(f"Hear it: woodshed generate {escape(str(result.run))} -p '…' -o hear.wav")
    _print(_plain(result), as_json, "\n".join(lines))
    if result.status == "stopped":
        raise typer.Exit(STOPPED)


def _print(result: dict[str, Any], as_json: bool, text: str) -> None:
    if as_json:
        print(json.dumps({"ok": True, **result}))
    else:
        words.print(text)


def _plain(value: Any) -> Any:
    """A result as JSON can hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.value if isinstance(value, Enum) else str(value) if isinstance(value, Path) else value


def main() -> None:
    """Run the command; a WoodshedError or DatasetError is one sentence and exit 1, never a traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        app()
    except (WoodshedError, DatasetError, PrepError) as error:
        words.print(escape(str(error)), soft_wrap=True)
        if "--json" in sys.argv:
            print(json.dumps({"ok": False, "error": str(error)}))
        sys.exit(FAILED)
    except KeyboardInterrupt:
        words.print("Stopped.")
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
