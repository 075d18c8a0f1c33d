"""The command `woodshed`: parse, call, print. Everything heavy is imported by the verb that needs it."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from data_prep.captioning.captions_command import captions
from data_prep.command import prep
from data_prep.dataset import DatasetError
from data_prep.files import PrepError
from data_prep.overview.command import report as report_dataset
from data_prep.review.command import review
from finetune.adapter_commands import convert, export, inspect
from finetune.bench.command import app as bench
from finetune.command_line import STOPPED, AsJson, report, words
from finetune.errors import WoodshedError
from finetune.evaluate_command import evaluate
from finetune.generate_command import generate
from finetune.licence_command import licence
from finetune.plan_command import plan
from finetune.provenance_commands import keys, prove_inclusion, verify, withdraw
from finetune.publish_command import publish
from finetune.train_command import resume, train

app = typer.Typer(
    help="Turn your own percussion recordings into an adapter for Stable Audio 3, on your own machine.\n\n"
    "The road: `prep` a folder of recordings into a dataset, `review` it, `train` an adapter on it, `evaluate` what it "
    "learned, `generate` to hear it, `export` it for another program. With `keys` it is signed, and `verify` proves "
    "what it was made from.\n\n"
    "Start with `woodshed demo`: the whole road on an embedded library and base, in minutes on a CPU.",
    epilog="Every verb takes --json (one object on stdout, words on stderr). Exit codes: 0 done, 1 failed, "
    "2 wrong usage, 130 stopped with Ctrl-C; `prep` and `verify` have more.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@dataclass(frozen=True)
class Page:
    """Where a page was written."""

    page: Path


def report_on(
    folder: Annotated[
        Path, typer.Argument(help="A dataset that `woodshed prep` has made, or a run that was evaluated.")
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a dataset is and whether it is enough to train on; of a run, write its listening page again.

    A dataset: hours, lengths, tempi, kit, captions, problems, and whether it is enough, which also `woodshed prep`
    says. A run: what `woodshed evaluate` found and the sounds it made, in one file to open in a browser. Both are
    pages, FOLDER/report.html; nothing else is changed.

    Examples: woodshed report dataset/, woodshed report runs/mykit
    """
    if (folder / "recipe.yaml").is_file() and not (folder / "manifest.jsonl").is_file():
        from finetune.report import write_report

        report(Page(write_report(folder)), as_json, escape(str(folder / "report.html")))
    else:
        report_dataset(folder, as_json)


VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "From recordings to a dataset": {
        "prep": prep,
        "captions": captions,
        "report": report_on,
        "review": review,
    },
    "From a dataset to an adapter": {"licence": licence, "plan": plan, "train": train, "resume": resume},
    "Hear it, judge it": {"generate": generate, "evaluate": evaluate},
    "Take it elsewhere": {"export": export, "convert": convert, "inspect": inspect, "publish": publish},
    "Prove what it was made from": {
        "keys": keys,
        "verify": verify,
        "prove-inclusion": prove_inclusion,
        "withdraw": withdraw,
    },
}
TRY = "Try it, measure it"
for panel, verbs in VERBS.items():
    for name, verb in verbs.items():
        app.command(name, rich_help_panel=panel)(verb)
FAILED = 1


@app.command(rich_help_panel=TRY)
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
    report(result, as_json, result.story())


app.add_typer(bench, name="bench", rich_help_panel=TRY)


def main() -> None:
    """Run the command; a WoodshedError or DatasetError is one sentence and exit 1, never a traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Else bitsandbytes advises, on some processors, to install a package that nothing here needs.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
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
