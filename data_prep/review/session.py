"""One review of one dataset: what the page asks, answered in plain data. Nothing here knows of HTTP."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from data_prep.dataset_folder import HIDDEN, DatasetFolder, Row
from data_prep.decisions import restore_clips
from data_prep.files import PrepError
from data_prep.review import actions
from data_prep.review.journal import changed, version_of
from data_prep.review.reviews import Conflict, Reviews
from data_prep.review.settling import Settling
from data_prep.review.sources import Sources
from data_prep.review.views import Views
from data_prep.slicing.clip import clip_of
from data_prep.split import LEFT_OUT

Answer = dict[str, Any]
MOST_PREVIEWED = 200


class Session:
    """The dataset in `folder` with the recordings in `library` (None: not known)."""

    def __init__(self, folder: DatasetFolder, library: Path | None) -> None:
        self.folder = folder
        self.sources = Sources(library, folder.root / HIDDEN)
        self.reviews = Reviews(folder)
        self.settling = Settling(folder, self.reviews)
        self.wake = threading.Event()
        self.views = Views(folder, self.reviews, self.sources)

    def recover(self) -> int:
        """Finish what a review that ended abruptly had not; how many slices that were."""
        pending = [self.reviews.rows[row_id] for row_id in sorted(self.reviews.pending)]
        if pending:
            restore_clips(self.folder, pending, self.reviews.pending, self._path_of)
        self.settling.sweep()
        self.settling.settle()
        return len(pending)

    def everything(self) -> Answer:
        """All rows in brief, and the recordings they are of."""
        with self.reviews.lock:
            rows, number = list(self.reviews.rows.values()), self.reviews.number
            recordings = dict(self.reviews.recordings)
        first = {row["recording"]: row for row in reversed(rows)}
        return {
            "boot": self.reviews.boot,
            "number": number,
            "dataset": self.folder.root.resolve().name,
            "rows": [brief(row) for row in rows],
            "recordings": {
                name: {
                    "gates": recordings.get(name, {}).get("gates") or {},
                    "bpm": actions.tempo_of(recordings.get(name, {})),
                    "heard": (recordings.get(name, {}).get("tempo") or {}).get("candidates") or [],
                    "away": self.sources.why_not(row),
                }
                for name, row in first.items()
            },
        }

    def changes(self, since: int) -> Answer:
        """What has happened since an entry of the journal, in any window."""
        with self.reviews.lock:
            rows, number = self.reviews.since(since), self.reviews.number
        return {
            "boot": self.reviews.boot,
            "number": number,
            "rows": [brief(row) for row in rows],
            "trouble": self.settling.trouble,
        }

    def row(self, row_id: str) -> Row:
        """KeyError where there is none."""
        return self.reviews.rows[row_id]

    def act(self, body: Mapping[str, Any]) -> Answer:
        """Do what the page asks, at once on disk. Conflict, PrepError and NothingToUndo as they come; KeyError,
        TypeError or ValueError for what is no request; OSError where the disk does not take it."""
        actions_of: dict[str, Callable[[str, Mapping[str, Any]], Answer]] = {
            "caption": self._caption,
            "verdict": self._verdict,
            "cut": self._cut,
            "tempo": self._tempo,
            "replace": self._replace,
            "undo": self._undo,
            "redo": self._redo,
        }
        return actions_of[body["do"]](str(body["tab"])[:40], body)

    def _caption(self, tab: str, body: Mapping[str, Any]) -> Answer:
        row_id, seen = str(body["id"]), int(body["version"])
        with self.reviews.lock:
            now = actions.write_caption(self.row(row_id), str(body["text"]))
            if now:
                self.reviews.check({row_id: seen}, "text")
            return self._commit(tab, "caption", {row_id: now}, also=[row_id])

    def _verdict(self, tab: str, body: Mapping[str, Any]) -> Answer:
        versions = {str(row_id): int(seen) for row_id, seen in body["versions"].items()}
        with self.reviews.lock:
            rows = self.reviews.rows
            siblings = self._by_recording()
            now = {
                row_id: actions.judge(rows[row_id], body["verdict"], siblings[rows[row_id]["recording"]])
                for row_id in versions
            }
            self.reviews.check({row_id: versions[row_id] for row_id in now}, "verdict")
            return self._commit(tab, "verdict", now, also=list(versions))

    def _cut(self, tab: str, body: Mapping[str, Any]) -> Answer:
        row_id, seen = str(body["id"]), int(body["version"])
        row, span = self.row(row_id), (int(body["start"]), int(body["end"]))
        decoded = self.sources.decoded(row)
        now, wav = actions.move_cut(row, *span, decoded)
        with self.settling.files, self.reviews.lock:
            if self.row(row_id) is not row:  # changed meanwhile, in what may be another aspect
                now, wav = actions.move_cut(self.row(row_id), *span, decoded)
            self.reviews.check({row_id: seen}, "cut")
            return self._commit(tab, "cut", {row_id: now}, wavs={row_id: wav}, also=[row_id])

    def _tempo(self, tab: str, body: Mapping[str, Any]) -> Answer:
        row_id, seen = str(body["id"]), int(body["version"])
        with self.reviews.lock:
            name = self.row(row_id)["recording"]
            rows = self._by_recording()[name]
            recording = self.reviews.recordings.get(name, {})
            bpm = actions.scaled_tempo(recording, float(body["factor"]))
            self.reviews.check({row_id: seen}, "tempo")
            now = {row["id"]: actions.scale_tempo(row, float(body["factor"]), bpm) for row in rows}
            return self._commit(tab, "tempo", now, {name: {"reviewed_bpm": bpm}}, also=[row_id])

    def _replace(self, tab: str, body: Mapping[str, Any]) -> Answer:
        """Preview, or do what was previewed when the journal was at `number`."""
        change = actions.replacer(
            str(body["find"]),
            str(body["replacement"]),
            match_case=bool(body["match_case"]),
            whole_words=bool(body["whole_words"]),
        )
        with self.reviews.lock:
            rows = [self.reviews.rows[row_id] for row_id in body["ids"] if row_id in self.reviews.rows]
            now = {row["id"]: keys for row in rows if (keys := actions.replace_words(row, change))}
            if body["preview"]:
                shown = [
                    {"id": row_id, "before": self.row(row_id)["text"], "after": keys["text"]}
                    for row_id, keys in list(now.items())[:MOST_PREVIEWED]
                ]
                return {"number": self.reviews.number, "count": len(now), "shown": shown}
            late = {row["id"] for row in self.reviews.since(int(body["number"]))} & set(now)
            if late:
                raise Conflict(sorted(late))
            return self._commit(tab, "replace", now)

    def _undo(self, tab: str, body: Mapping[str, Any]) -> Answer:
        return self._revert(tab, "undo")

    def _redo(self, tab: str, body: Mapping[str, Any]) -> Answer:
        return self._revert(tab, "redo")

    def _revert(self, tab: str, what: str) -> Answer:
        """Take back the latest action of the window, or its latest undo; a moved cut is cut again as it was."""
        entry = self.reviews.undo(tab) if what == "undo" else self.reviews.redo(tab)
        decoded = {
            each.id: self.sources.decoded(self.row(each.id))
            for each in entry.changes
            if "clip_sha256" in each.was and each.id in self.reviews.rows
        }
        with self.settling.files, self.reviews.lock:
            now, recordings = self.reviews.inverse(entry)
            wavs = {}
            for row_id, source in decoded.items():
                wavs[row_id] = clip_of(changed(self.row(row_id), now[row_id]), source)
            return self._commit(tab, what, now, recordings, wavs) | {"did": entry.what}

    def _commit(
        self,
        tab: str,
        what: str,
        now: Mapping[str, Row],
        recordings: Mapping[str, Row] | None = None,
        wavs: Mapping[str, bytes] | None = None,
        also: list[str] | None = None,
    ) -> Answer:
        """New sound beside the old, the journal, then the sound in its place. Answers with the rows that changed and
        those in `also`."""
        ready = {}
        for row_id, wav in (wavs or {}).items():
            path = (
                self.folder.find_clip(row_id)
                or self.folder.root / self.row(row_id)["split"] / f"{row_id}.wav"
            )
            ready[path] = path.with_name(f".{path.name}.{os.getpid()}.part")
            _write_through(ready[path], wav)
        try:
            entry = self.reviews.commit(tab, what, now, recordings)
        except BaseException:
            for beside in ready.values():
                beside.unlink(missing_ok=True)
            raise
        for path, beside in ready.items():
            beside.replace(path)
        if entry:
            self.wake.set()
        ids = dict.fromkeys([*(also or []), *([each.id for each in entry.changes] if entry else [])])
        return {
            "boot": self.reviews.boot,
            "number": self.reviews.number,
            "count": len(entry.changes) if entry else 0,
            "rows": [brief(self.row(row_id)) for row_id in ids],
        }

    def _by_recording(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in self.reviews.rows.values():
            found.setdefault(row["recording"], []).append(row)
        return found

    def _path_of(self, name: str) -> Path:
        if self.sources.root is None:
            raise PrepError(
                "A cut was moved just before the last review ended; say --recordings FOLDER so that it can be cut."
            )
        return self.sources.root / name


def brief(row: Row) -> Answer:
    """A row as the page lists it."""
    fields = row["fields"]
    return {
        "id": row["id"],
        "version": version_of(row),
        "recording": row["recording"],
        "split": row["split"],
        "state": state_of(row),
        "text": row["text"],
        "wordings": len(row["captions"]),
        "start": row["start_sample"],
        "end": row["end_sample"],
        "seconds": row["seconds"],
        "total": row["recording_seconds"],
        "clip": row["clip_sha256"][:12],
        "tempo": fields.get("tempo", {}).get("value"),
        "quality": row["quality"],
        "fields": [
            [name, each.get("value"), each.get("source"), each.get("confidence")]
            for name, each in fields.items()
            if not isinstance(each.get("value"), dict)
        ],
    }


def state_of(row: Row) -> str:
    """`rejected`, `accepted`, `edited` (touched, without a verdict), or `new`."""
    if row["split"] == LEFT_OUT:
        return "rejected"
    return row.get("verdict") or ("edited" if row.get("reviewed") else "new")


def _write_through(path: Path, content: bytes) -> None:
    """Write and wait for the disk; nothing is left where that fails."""
    try:
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
