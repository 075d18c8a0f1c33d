"""`woodshed report`: what a dataset is, and whether it is enough to train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from data_prep.overview.figures import Overview

COLOURS = {"enough": "green", "thin": "yellow", "too little": "red"}


def report(
    dataset: Annotated[Path, typer.Argument(help="Folder that `woodshed prep` has made.")],
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout, words on stderr.")
    ] = False,
) -> None:
    """Say what a dataset is: hours, lengths, tempi, kit, captions, problems, and whether it is enough to train on.

    Writes the same as a page, DATASET/report.html, which also `woodshed prep` does. Nothing else is changed.

    Example: woodshed report dataset/
    """
    from data_prep.files import disk_errors
    from data_prep.overview.figures import look_at
    from data_prep.overview.page import write_page

    overview = look_at(dataset)
    with disk_errors(dataset):
        page = write_page(dataset, overview)
    _print(overview, page)
    if as_json:
        print(json.dumps({"ok": True, "page": str(page), **overview.as_dict()}))


def _print(overview: Overview, page: Path) -> None:
    console = Console(stderr=True, highlight=False)
    table = Table("split", "slices", "minutes", "recordings", box=SIMPLE)
    for part in overview.parts:
        table.add_row(part.split, str(part.slices), f"{part.minutes:.1f}", str(part.recordings))
    console.print(table)
    for title, bins in {
        "length": overview.lengths, "tempo": overview.tempi, "kind": overview.kinds, "heard in": overview.kit
    }.items():  # fmt: skip
        shown = ", ".join(f"{bin.label} {bin.slices}" for bin in bins if bin.slices)
        if shown:
            console.print(f"{title}: {escape(shown)}", soft_wrap=True)
    for problem in overview.problems:
        console.print(f"{problem.gate}: {problem.slices} slices", soft_wrap=True)
    word = overview.verdict.word
    console.print(f"[{COLOURS[word]}]Enough to train on? {word.capitalize()}.[/]")
    for reason in overview.verdict.reasons:
        console.print(f"- {escape(reason)}", soft_wrap=True)
    console.print(f"{escape(str(page))}", soft_wrap=True)
