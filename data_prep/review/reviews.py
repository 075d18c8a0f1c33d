"""The rows of a dataset while they are reviewed: versions, conflicts, undo. Every change goes through the journal."""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Mapping

from data_prep.dataset_folder import DatasetFolder
from data_prep.review.journal import Change, Entry, JournalFile, Row, changed, replay, version_of

ASPECTS = {
    "text": ("text", "captions"),
    "verdict": ("verdict", "split"),
    "cut": ("start_sample", "end_sample"),
    "tempo": ("tempo",),
}
"""What of a row two windows may change at the same time without harm: another aspect each."""


class Conflict(Exception):
    """Rows were changed elsewhere since the page read them; `ids` says which."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__("This was changed in another window meanwhile.")
        self.ids = ids


class NothingToUndo(Exception):
    """There is no action of this window to undo, or to do again."""


class Reviews:
    """Rows by id, in the order of the manifest, and what was done to them. Rows are replaced, never changed in
    place, so a reader that holds one holds a consistent one. `lock` is held by whoever changes."""

    def __init__(self, folder: DatasetFolder) -> None:
        self.journal = JournalFile(folder.root)
        rows, recordings, self.pending = replay(folder.manifest(), folder.recordings(), self.journal.entries)
        self.rows: dict[str, Row] = {row["id"]: row for row in rows}
        self.recordings: dict[str, Row] = {row["recording"]: row for row in recordings}
        self.lock = threading.RLock()
        self.boot = secrets.token_hex(4)
        """Tells a page that the server was started anew."""
        self._changed_at: dict[str, int] = {}
        self._aspect_version: dict[str, dict[str, int]] = defaultdict(dict)
        self._done: dict[str, list[Entry]] = defaultdict(list)
        self._undone: dict[str, list[Entry]] = defaultdict(list)
        self._first_version = self._versions_before_journal()
        for entry in self.journal.entries:
            self._note(entry)

    @property
    def number(self) -> int:
        """Of the latest entry."""
        return self.journal.entries[-1].number if self.journal.entries else 0

    def check(self, versions: Mapping[str, int], aspect: str) -> None:
        """Conflict where a row's `aspect` was changed after the version that the page has seen."""
        late = []
        for row_id, seen in versions.items():
            latest = self._aspect_version[row_id].get(aspect, self._first_version[row_id])
            if not latest <= seen <= version_of(self.rows[row_id]):
                late.append(row_id)
        if late:
            raise Conflict(late)

    def commit(
        self,
        tab: str,
        what: str,
        changes: Mapping[str, Row],
        recordings: Mapping[str, Row] | None = None,
    ) -> Entry | None:
        """Set keys of rows (id -> key -> value) and of recordings; None where all of that is so already."""
        rows = [each for row_id, now in changes.items() if (each := _change(self.rows[row_id], row_id, now))]
        sources = [
            each
            for name, now in (recordings or {}).items()
            if (each := _change(self.recordings[name], name, now))
        ]
        if not rows:
            return None
        entry = Entry(self.number + 1, tab, what, rows, sources)
        self.journal.append(entry)
        for each in rows:
            self.rows[each.id] = changed(self.rows[each.id], each.now | {"version": each.version})
            self.pending.add(each.id)
        for each in sources:
            self.recordings[each.id] = changed(self.recordings[each.id], each.now)
        self._note(entry)
        return entry

    def undo(self, tab: str) -> Entry:
        """The latest action of this window that still stands."""
        return self._latest(self._done[tab])

    def redo(self, tab: str) -> Entry:
        return self._latest(self._undone[tab])

    def inverse(self, entry: Entry) -> tuple[dict[str, Row], dict[str, Row]]:
        """What takes `entry` back, for rows and recordings; Conflict where something else was set since."""
        late = [
            each.id
            for each in entry.changes
            if each.id not in self.rows or _other(self.rows[each.id], each.now)
        ]
        if late:
            raise Conflict(late)
        return {each.id: each.was for each in entry.changes}, {
            each.id: each.was for each in entry.recordings if each.id in self.recordings
        }

    def since(self, number: int) -> list[Row]:
        """Rows changed after the entry `number`."""
        return [self.rows[row_id] for row_id, at in self._changed_at.items() if at > number]

    def _versions_before_journal(self) -> dict[str, int]:
        versions = {row_id: version_of(row) for row_id, row in self.rows.items()}
        for entry in reversed(self.journal.entries):
            versions |= {each.id: each.version - 1 for each in entry.changes if each.id in versions}
        return versions

    def _latest(self, entries: list[Entry]) -> Entry:
        if not entries:
            raise NothingToUndo
        return entries[-1]

    def _note(self, entry: Entry) -> None:
        """Remember what an entry did, for conflicts, undo and other windows."""
        for each in entry.changes:
            if each.id not in self.rows:
                continue
            self._changed_at.pop(each.id, None)
            self._changed_at[each.id] = entry.number
            for aspect in _aspects(each):
                self._aspect_version[each.id][aspect] = each.version
        done, undone = self._done[entry.tab], self._undone[entry.tab]
        if entry.what == "undo" and done:
            done.pop()
            undone.append(entry)
        elif entry.what == "redo" and undone:
            undone.pop()
            done.append(entry)
        elif entry.what not in ("undo", "redo"):
            done.append(entry)
            undone.clear()


def _change(row: Row, row_id: str, now: Row) -> Change | None:
    different = {key: value for key, value in now.items() if row.get(key) != value}
    if not different:
        return None
    return Change(row_id, version_of(row) + 1, {key: row.get(key) for key in different}, different)


def _other(row: Row, values: Row) -> bool:
    return any(row.get(key) != value for key, value in values.items())


def _aspects(change: Change) -> list[str]:
    found = [name for name, keys in ASPECTS.items() if any(key in change.now for key in keys)]
    was, now = (side.get("fields") or {} for side in (change.was, change.now))
    return [*found, "tempo"] if was.get("tempo") != now.get("tempo") else found
