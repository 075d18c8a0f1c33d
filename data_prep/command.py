"""`woodshed prep`: parse, call, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from data_prep.captioning.vocabulary import read_vocabulary
from data_prep.ownership.rights import RIGHTS_FIRST, Basis, Rights, RightsError
from data_prep.settings import Settings, parse_bpm
from data_prep.slicing.slices import KeepOrDrop, Slicing, Tail

if TYPE_CHECKING:
    from data_prep.report import Report

DONE, FAILED, WRONG_USAGE, SOME_LEFT_OUT, STOPPED = 0, 1, 2, 3, 130


def prep(
    recordings: Annotated[
        Path,
        typer.Argument(
            help="Folder of recordings, in any format of libsndfile; folders within are searched. Rights may be "
            "stated in a rights.yaml beside them."
        ),
    ],
    dataset: Annotated[
        Path, typer.Argument(help="Folder to write; a dataset of ours is brought up to date.")
    ],
    slicing: Annotated[
        Slicing,
        typer.Option(
            "--slice",
            help="bars: whole bars, to the sample. onsets: one-shots, one per hit. phrases: between "
            "pauses. whole: recordings as they are. fixed: windows of --seconds. cues: at the markers in the files.",
        ),
    ] = Slicing.bars,
    bars: Annotated[int, typer.Option(help="Bars per slice, for --slice bars.")] = 4,
    bpm: Annotated[
        str | None,
        typer.Option(
            metavar="X|LOW-HIGH",
            help="Tempo of all recordings (92), or the range it lies in (150-185), which settles 86 or 172. Unsaid: "
            "embedded tag, then a number in the file name that fits what is heard, then the estimate.",
        ),
    ] = None,
    metre: Annotated[
        str | None,
        typer.Option(
            metavar="7/8",
            help="Metre. Unsaid: embedded tag, then the file name (7_8, seven_eight), then 4/4.",
        ),
    ] = None,
    downbeat: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Where the first bar begins. Unsaid: cue markers on bar lines, then the first hit after a count-in. "
            "A timing.yaml beside the recordings says it file by file.",
        ),
    ] = None,
    click: Annotated[
        bool,
        typer.Option(
            "--click", help="Played to a click: one tempo from end to end. Unsaid, drift is followed."
        ),
    ] = False,
    count_in: Annotated[
        KeepOrDrop, typer.Option(help="Four even stick clicks before the first bar: in no slice, or music.")
    ] = KeepOrDrop.drop,
    pickup: Annotated[
        KeepOrDrop, typer.Option(help="Hits before the first bar: in no slice, or in the first one.")
    ] = KeepOrDrop.drop,
    tail: Annotated[
        Tail,
        typer.Option(
            help="Bars after the last whole slice. drop: in no slice. keep: as a shorter one. pad: with silence."
        ),
    ] = Tail.drop,
    seconds: Annotated[float | None, typer.Option(help="Length of a window, for --slice fixed.")] = None,
    trigger: Annotated[
        str | None, typer.Option(metavar="WORD", help="A word for captions that will call your adapter.")
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml",
            help="Your own words for captions, in any language: kits, feels, names; see docs/captions.md.",
        ),
    ] = None,
    captioner: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="An installed captioner that writes the sentences, unreviewed."),
    ] = None,
    validation: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the minutes to hold out, by whole recordings.")
    ] = 0.15,
    basis: Annotated[
        Basis | None,
        typer.Option(
            help="By what right recordings may be learned from, those that no rights.yaml beside them speaks of."
        ),
    ] = None,
    recorded_by: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who recorded them; goes with --basis.")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Name or place of the licence; needed for --basis licensed."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Where they come from, if not from your own hands.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes at once; unsaid: one for each core.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout, words on stderr.")
    ] = False,
) -> None:
    """Make a dataset of captioned slices from a folder of recordings.

    Each recording is decoded; its hits and tempo are found; it is cut,
    described in plain facts, captioned and checked. Whole recordings are held
    out for validation. Run it again after adding takes: only what changed is
    done, and a caption that you edited in its .txt stays yours.

    Exit status: 0 done; 3 done, but some recordings were left out, each named
    with its reason; 1 nothing could be prepared; 2 wrong usage; 130 stopped
    with Ctrl-C, and the same command goes on.

    Example: woodshed prep takes/ dataset/ --bars 2 --bpm 80-120
    --basis own_recording --recorded-by Ada
    """
    try:
        if (basis is None) != (recorded_by is None):
            raise ValueError(RIGHTS_FIRST)
        rights = Rights(basis, recorded_by, licence, source) if basis and recorded_by is not None else None
        exact, bpm_range = parse_bpm(bpm) if bpm else (None, None)
        settings = Settings(
            slicing,
            bars,
            exact,
            bpm_range,
            metre,
            seconds,
            trigger,
            validation,
            downbeat,
            click,
            count_in,
            pickup,
            tail,
            read_vocabulary(vocabulary) if vocabulary else None,
            captioner,
        )
    except ValueError as error:
        _stop(str(error), WRONG_USAGE, as_json)
    report = _run(recordings, dataset, rights, settings, workers, as_json)
    from data_prep.summary import print_summary

    print_summary(report)
    if as_json:
        _print_json({"ok": True, **report.as_dict()})
    raise typer.Exit(SOME_LEFT_OUT if report.left_out else DONE)


def _run(
    recordings: Path,
    dataset: Path,
    rights: Rights | None,
    settings: Settings,
    workers: int | None,
    as_json: bool,
) -> Report:
    from data_prep.files import PrepError
    from data_prep.preparation import prepare
    from data_prep.summary import progress_bar

    try:
        with progress_bar() as progress:
            return prepare(recordings, dataset, rights, settings, workers=workers, progress=progress)
    except RightsError as error:
        _stop(str(error), WRONG_USAGE, as_json)
    except PrepError as error:
        _stop(str(error), FAILED, as_json)
    except KeyboardInterrupt:
        _stop("Stopped. What is finished is kept: run the same command again to go on.", STOPPED, as_json)


def _stop(sentence: str, code: int, as_json: bool) -> NoReturn:
    print(sentence, file=sys.stderr)
    if as_json:
        _print_json({"ok": False, "error": sentence})
    raise typer.Exit(code)


def _print_json(content: dict[str, object]) -> None:
    """Escapes only, so that any terminal and any file name will do."""
    print(json.dumps(content))
