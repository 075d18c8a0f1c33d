"""What `woodshed prep` shows on stderr: a progress bar while it works, a table of what it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from data_prep.preparation import Progress as OnProgress
from data_prep.report import RecordingReport, Report

MOST_REMARKS = 30
FEW = 3
"""As many stretches left over are listed one by one."""


@contextmanager
def progress_bar() -> Iterator[OnProgress]:
    """A bar of the work, with the time left; gone when done."""
    columns = (
        TextColumn("[bold]prep[/bold] {task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("looking at the recordings", total=None)

        def update(done: float, total: float, name: str) -> None:
            shown = escape(readable(name)[-40:]) if name else None
            bar.update(task, completed=done, total=max(total, 1.0), description=shown)

        yield update


def print_summary(report: Report) -> None:
    """Recordings, what was left out and why, and warnings, to stderr."""
    console = Console(stderr=True, highlight=False)
    console.print(_recordings_table(report))
    if report.left_out:
        table = Table("left out", "why", box=SIMPLE)
        for each in report.left_out:
            table.add_row(escape(readable(each.recording)), escape(each.reason))
        console.print(table)
    remarks = [*_noticed(report), *_leftovers(report)]
    for sentence in remarks[:MOST_REMARKS]:
        console.print(f"- {escape(sentence)}", soft_wrap=True)
    if len(remarks) > MOST_REMARKS:
        console.print(f"- and {len(remarks) - MOST_REMARKS} more; --json has them all.")
    for question in report.questions:
        console.print(f"[yellow]? {escape(readable(question.sentence))}[/yellow]", soft_wrap=True)
    for sentence in report.warnings:
        console.print(f"[yellow]! {escape(sentence)}[/yellow]", soft_wrap=True)
    console.print(f"Enough to train on? [bold]{report.verdict.word.capitalize()}.[/bold]", soft_wrap=True)
    for reason in report.verdict.reasons:
        console.print(f"- {escape(readable(reason))}", soft_wrap=True)
    unchanged = "" if report.changed else " Nothing has changed."
    console.print(
        f"[bold]{report.slices} slices[/bold] ({report.minutes:.1f} minutes) of {len(report.recordings)} recordings: "
        f"{report.train_slices} to train, {report.validation_slices} held out, in {escape(report.dataset)}.{unchanged}",
        soft_wrap=True,
    )


def readable(name: str) -> str:
    """A file name for one line of a terminal: control characters and broken bytes as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode()
        for char in name
    )


def _recordings_table(report: Report) -> Table:
    table = Table("recording", "slices", "for", "BPM", "heard", "metre", "downbeat", box=SIMPLE)
    table.columns[0].overflow = "fold"  # a name is never cut off
    for each in report.recordings:
        table.add_row(
            escape(readable(each.recording)),
            str(each.slices),
            "held out" if each.split == "validation" else each.split,
            *_tempo_cells(each),
            each.metre["value"] + ("" if each.metre["source"] == "default" else f" {each.metre['source']}"),
            _downbeat(each),
        )
    return table


def _tempo_cells(each: RecordingReport) -> tuple[str, str]:
    """The tempo with its source; the two octaves that were heard, likelier first."""
    if not each.tempo:
        return "none", ""
    heard = "/".join(f"{bpm:.4g}" for bpm in each.tempo["candidates"])
    bars = [bpm for _, bpm in each.tempo["followed"] or ()]
    followed = f", {min(bars):.4g} to {max(bars):.4g}" if bars else ""
    return f"{each.tempo['bpm']:.5g} {each.tempo['source']}{followed}", heard


def _downbeat(each: RecordingReport) -> str:
    """Who says where the first bar begins; where it is a guess, how sure."""
    if not each.tempo:
        return ""
    if each.downbeat_source != "first hit" or each.downbeat_confidence is None:
        return each.downbeat_source
    return f"{each.downbeat_confidence:.0%}"


def _leftovers(report: Report) -> list[str]:
    """Stretches of recordings that no slice covers."""
    sentences = []
    for each in report.recordings:
        name = readable(each.recording)
        if len(each.rests) <= FEW:
            sentences += [
                f"{name}, {start:.1f} to {end:.1f} s is in no slice: {why}." for start, end, why in each.rests
            ]
            continue
        reasons = [why for _, _, why in each.rests]
        counts = ", ".join(f"{reasons.count(why)} times {why}" for why in sorted(set(reasons)))
        sentences.append(f"{name}: {len(reasons)} stretches are in no slice: {counts}.")
    return sentences


def _noticed(report: Report) -> list[str]:
    """Quality gates, doubts about stated tempi, copies, what went and what was kept."""
    sentences = [
        f"{readable(each.recording)}: {sentence}."
        for each in report.recordings
        for sentence in [*each.gates.values(), *each.warnings]
    ]
    sentences += [
        f"Copies of one another, kept on one side: {', '.join(map(readable, group))}."
        for group in report.copies
    ]
    sentences += [f"Gone with its recording: {readable(name)}." for name in report.removed]
    if report.edited_captions:
        sentences.append(f"Captions that were edited by hand and are kept: {report.edited_captions}.")
    return sentences
