"""`reviews.jsonl`: every decision of a review, one line each, on disk before it is answered.

A dataset of 5,000 slices has a manifest of 10 MB: too much to write for every key that is pressed. So a decision is
appended here and forced to the disk (`fsync`), and the manifest is brought up to date a moment later. After a crash
the lines that the manifest does not hold yet are read again. Each line is one action, whole or not there: a torn
last line is cut off. `woodshed prep` takes the lines over and begins the file anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_prep.files import PrepError, json_line

JOURNAL = "reviews.jsonl"
Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """What happens to one row: the keys that change, before and after (None: not there), and its version after."""

    id: str
    version: int
    was: Row
    now: Row


@dataclass(frozen=True)
class Entry:
    """One action of a person. `tab` is the window it came from, `what` the action, `recordings` changes of rows of
    recordings.jsonl (their `id` is the recording's name)."""

    number: int
    tab: str
    what: str
    changes: list[Change]
    recordings: list[Change] = field(default_factory=list)


def read_journal(dataset: Path) -> list[Entry]:
    """The entries of a dataset, without a torn last line; PrepError where another line is no entry."""
    entries, _ = _read(dataset / JOURNAL)
    return entries


class JournalFile:
    """The journal, open to append to. A torn last line is cut off on opening."""

    def __init__(self, dataset: Path) -> None:
        path = dataset / JOURNAL
        self.entries, whole = _read(path)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
        os.ftruncate(self._file, whole)
        self._end = whole

    def append(self, entry: Entry) -> None:
        """Write the entry and wait for the disk; nothing of it is left where that fails (OSError)."""
        line = (json_line(asdict(entry)) + "\n").encode()
        try:
            os.lseek(self._file, self._end, os.SEEK_SET)
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(line)
        self.entries.append(entry)

    def close(self) -> None:
        os.close(self._file)


def changed(row: Row, values: Row) -> Row:
    """The row with other values; a value of None takes the key away."""
    return {key: value for key, value in (row | values).items() if not (key in values and value is None)}


def replay(
    rows: Iterable[Row], recordings: Iterable[Row], entries: list[Entry]
) -> tuple[list[Row], list[Row], set[str]]:
    """Rows of the manifest and of recordings.jsonl with what the journal holds beyond them, and the ids of those
    rows. A change of a row that is not there any more has nothing to change."""
    by_id = {row["id"]: row for row in rows}
    by_name = {row["recording"]: row for row in recordings}
    pending: set[str] = set()
    for entry in entries:
        late = [
            each for each in entry.changes if each.id in by_id and each.version > version_of(by_id[each.id])
        ]
        for each in late:
            by_id[each.id] = changed(by_id[each.id], each.now | {"version": each.version})
            pending.add(each.id)
        for each in entry.recordings if late else []:
            if each.id in by_name:
                by_name[each.id] = changed(by_name[each.id], each.now)
    return list(by_id.values()), list(by_name.values()), pending


def version_of(row: Row) -> int:
    """How many times a row was changed in reviews."""
    return int(row.get("version", 0))


def _read(path: Path) -> tuple[list[Entry], int]:
    """The entries, and how many bytes of the file are whole lines."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    whole = content.rfind(b"\n") + 1
    entries = []
    for number, line in enumerate(content[:whole].split(b"\n")[:-1], start=1):
        try:
            entries.append(_entry(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise PrepError(
                f"{path}, line {number}, is no review of ours; delete this line, and only that decision is lost."
            ) from error
    return entries, whole


def _entry(content: dict[str, Any]) -> Entry:
    return Entry(
        number=int(content["number"]),
        tab=str(content["tab"]),
        what=str(content["what"]),
        changes=[_change(each) for each in content["changes"]],
        recordings=[_change(each) for each in content["recordings"]],
    )


def _change(content: dict[str, Any]) -> Change:
    return Change(str(content["id"]), int(content["version"]), dict(content["was"]), dict(content["now"]))
