"""What `woodshed prep` shows on stderr: a progress bar while it works, a table of what it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from data_prep.preparation import Progress as OnProgress
from data_prep.report import RecordingReport, Report


@contextmanager
def progress_bar() -> Iterator[OnProgress]:
    """A bar of the bytes of the recordings, with rate and time left; gone when done."""
    columns = (
        TextColumn("[bold]prep[/bold] {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("looking at the recordings", total=None)

        def update(done: int, total: int, name: str) -> None:
            bar.update(task, completed=done, total=max(total, 1), description=escape(readable(name))[-40:])

        yield update


def print_summary(report: Report) -> None:
    """Recordings, what was left out and why, and warnings, to stderr."""
    console = Console(stderr=True)
    console.print(_recordings_table(report))
    if report.left_out:
        table = Table("left out", "why", title="Left out", title_justify="left")
        for each in report.left_out:
            table.add_row(escape(readable(each.recording)), escape(each.reason))
        console.print(table)
    for sentence in _remarks(report):
        console.print(f"[yellow]![/yellow] {escape(sentence)}")
    console.print(
        f"[bold]{report.slices} slices[/bold] ({report.minutes:.1f} minutes) of {len(report.recordings)} recordings: "
        f"{report.train_slices} to train, {report.validation_slices} held out. "
        + ("" if report.changed else "Nothing has changed.")
    )
    console.print(f"The dataset is in {escape(report.dataset)}", soft_wrap=True)


def readable(name: str) -> str:
    """A file name for one line of a terminal: control characters and broken bytes as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in name
    )


def _recordings_table(report: Report) -> Table:
    table = Table("recording", "slices", "to", "BPM", "from", "or", "metre", "downbeat", "noticed")
    for each in report.recordings:
        table.add_row(
            escape(readable(each.recording)),
            str(each.slices),
            each.split,
            *_tempo_cells(each),
            f"{each.metre['value']} ({each.metre['source']})",
            f"{each.downbeat_confidence:.0%}" if each.downbeat_confidence is not None else "",
            escape("; ".join([*each.gates.values(), *each.warnings])),
        )
    return table


def _tempo_cells(each: RecordingReport) -> tuple[str, str, str]:
    """Tempo, its source and confidence, and the candidates that were heard."""
    if not each.tempo:
        return "none", "", ""
    heard = ", ".join(f"{bpm:g}" for bpm in each.tempo["candidates"])
    return f"{each.tempo['bpm']:g}", f"{each.tempo['source']} {each.tempo['confidence']:.0%}", heard


def _remarks(report: Report) -> list[str]:
    remarks = [
        f"{readable(each.recording)}, {start:.1f} to {end:.1f} s: {why}"
        for each in report.recordings
        for start, end, why in each.rests
        if len(each.rests) <= 3
    ]
    remarks += [
        f"{readable(each.recording)}: {len(each.rests)} stretches are in no slice, most because {each.rests[0][2]}"
        for each in report.recordings
        if len(each.rests) > 3
    ]
    remarks += [
        f"Copies of each other, kept on one side: {', '.join(map(readable, group))}"
        for group in report.copies
    ]
    remarks += [f"Removed with its recording: {readable(name)}" for name in report.removed]
    if report.edited_captions:
        remarks.append(f"{report.edited_captions} captions were edited by hand and are kept.")
    return remarks + report.warnings
