"""`woodshed captions`: captions out of a dataset into a table, and back."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from data_prep.review.session import Session

WRONG_USAGE = 2


class Separator(StrEnum):
    comma = "comma"
    semicolon = "semicolon"
    tab = "tab"


_SIGN = {Separator.comma: ",", Separator.semicolon: ";", Separator.tab: "\t"}


def captions(
    dataset: Annotated[Path, typer.Argument(help="Folder that `woodshed prep` wrote.")],
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE.csv", help="Write the captions into this table.")
    ] = None,
    import_: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE.csv", help="Take the captions of this table; all or none."),
    ] = None,
    separator: Annotated[
        Separator, typer.Option(help="For --export; Excel in many languages wants semicolon.")
    ] = Separator.comma,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout, words on stderr.")
    ] = False,
) -> None:
    """Captions of a dataset as a CSV table for a spreadsheet, and back.

    A caption that you changed in the table counts as reviewed and stays when you run prep again, as does one where
    you write yes under `reviewed`. What was changed in the dataset since the export is not overwritten.

    Example: woodshed captions dataset/ --export captions.csv
    """
    if (export is None) == (import_ is None):
        print("Say either --export FILE.csv or --import FILE.csv.", file=sys.stderr)
        if as_json:
            print(json.dumps({"ok": False, "error": "either --export or --import"}))
        raise typer.Exit(WRONG_USAGE)
    from data_prep.dataset import MANIFEST
    from data_prep.dataset_folder import DatasetFolder
    from data_prep.dataset_lock import dataset_lock
    from data_prep.files import PrepError, disk_errors
    from data_prep.review.session import Session
    from data_prep.review.sources import library_of

    if not (dataset / MANIFEST).is_file():
        raise PrepError(f"{dataset} is no dataset: make it with `woodshed prep RECORDINGS {dataset}`.")
    folder = DatasetFolder(dataset)
    with disk_errors(dataset), dataset_lock(dataset):
        session = Session(folder, library_of(folder, None))
        try:
            session.recover()
            done = _export(session, export, _SIGN[separator]) if export else _import(session, import_)
        finally:
            session.reviews.journal.close()
    if as_json:
        print(json.dumps({"ok": True, **done}))


def _export(session: Session, path: Path, separator: str) -> dict[str, Any]:
    from data_prep.captioning.caption_table import export_table, taken

    count = export_table(taken(session.reviews.rows.values()), path, separator)
    print(f"{count} captions are in {path}.", file=sys.stderr)
    return {"file": str(path), "rows": count}


def _import(session: Session, path: Path | None) -> dict[str, Any]:
    from data_prep.captioning.caption_table import import_table

    assert path is not None
    done = import_table(session.reviews.rows.values(), path)
    if done.changes:
        session.reviews.commit("table", "captions", done.changes)
        session.settling.settle()
    print(
        f"{done.rows} rows read: {done.changed} captions changed, {done.reviewed} more marked as reviewed, "
        f"{done.unchanged} as they were"
        + (f", {done.kept_newer} newer in the dataset and kept" if done.kept_newer else "")
        + f". {done.not_in_table} slices are not in the table and stay as they are.",
        file=sys.stderr,
    )
    return {"file": str(path), **done.as_dict()}
