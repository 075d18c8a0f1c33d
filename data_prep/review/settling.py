"""Bringing the dataset folder up to the reviews, a moment after they were made.

The order is that of a preparation (writing.py), so that it may be cut off at any moment: sound to its new side,
manifest, captions, and last what is no longer named. What was not reached is in the journal.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time

from data_prep import dataset_card
from data_prep.dataset import MANIFEST, RECORDINGS, SPLITS
from data_prep.dataset_folder import DatasetFolder, Row
from data_prep.files import json_line, read_json_lines, write_bytes, write_json_lines
from data_prep.review.reviews import Reviews
from data_prep.split import TRAIN, VALIDATION

SECONDS = 0.4
"""How long after an action the files follow, so that a run of quick ones is written once."""


class Settling:
    """Writes what is pending in `reviews`. `files` is held while files move, also by whoever replaces a WAV."""

    def __init__(self, folder: DatasetFolder, reviews: Reviews) -> None:
        self.folder = folder
        self.reviews = reviews
        self.files = threading.Lock()
        self.trouble: str | None = None
        """Why the files could not be written the last time; the journal has everything all the same."""
        self._lines: dict[str, tuple[Row, bytes]] = {}

    def settle(self) -> None:
        """Bring the folder up to now; OSError where the disk does not take it."""
        with self.files:
            newer = self._captions_newer_than_manifest()
            with self.reviews.lock:
                self._take_edited_captions(newer)
                touched, self.reviews.pending = self.reviews.pending, set()
                rows, recordings = list(self.reviews.rows.values()), list(self.reviews.recordings.values())
            try:
                if touched:
                    self._write(rows, recordings, [row for row in rows if row["id"] in touched])
            except BaseException:
                with self.reviews.lock:
                    self.reviews.pending |= touched
                raise

    def sweep(self) -> None:
        """Mend what a run that was cut off has left: a slice on two sides, a caption that is not written."""
        with self.files, self.reviews.lock:
            for split in SPLITS:
                for path in [
                    *(self.folder.root / split).glob("*.wav"),
                    *(self.folder.root / split).glob("*.txt"),
                ]:
                    row = self.reviews.rows.get(path.stem)
                    if (
                        row
                        and row["split"] != split
                        and (self.folder.root / row["split"] / path.name).is_file()
                    ):
                        path.unlink()
            for row in self.reviews.rows.values():
                if row["id"] not in self.reviews.pending:
                    caption = self.folder.root / row["split"] / f"{row['id']}.txt"
                    if not caption.exists() and caption.with_suffix(".wav").exists():
                        self.folder.write_caption(row)

    def run(self, wake: threading.Event, stopped: threading.Event) -> None:
        """Settle again and again, until `stopped`; a disk that refuses is said in `trouble` and tried again."""
        pause = SECONDS
        while not stopped.is_set():
            wake.wait()
            stopped.wait(pause)
            wake.clear()
            began = time.monotonic()
            try:
                self.settle()
                pause = max(SECONDS, 4 * (time.monotonic() - began))  # large datasets leave time to answer
                self.trouble = None
            except OSError as error:
                self.trouble = f"The dataset folder cannot be written: {error.strerror or error}."
                stopped.wait(5)
                wake.set()

    def _captions_newer_than_manifest(self) -> list[str]:
        """Ids of the rows whose .txt was written after the manifest: by us a moment ago, or by a person."""
        written = (self.folder.root / MANIFEST).stat().st_mtime_ns
        found = []
        for split in SPLITS:
            with contextlib.suppress(FileNotFoundError), os.scandir(self.folder.root / split) as files:
                found += [
                    file.name.removesuffix(".txt")
                    for file in files
                    if file.name.endswith(".txt") and file.stat().st_mtime_ns > written
                ]
        return found

    def _take_edited_captions(self, newer: list[str]) -> None:
        """A caption that a person edits in its .txt while the page is open is a review like any other."""
        edited = {
            row_id: {"text": text, "captions": [text], "reviewed": True}
            for row_id in newer
            if (row := self.reviews.rows.get(row_id))
            and row_id not in self.reviews.pending
            and (text := self.folder.edited_caption(row))
        }
        if edited:
            self.reviews.commit("txt", "caption", edited)

    def _write(self, rows: list[Row], recordings: list[Row], touched: list[Row]) -> None:
        for row in touched:
            with contextlib.suppress(StopIteration):  # its WAV is nowhere: prep makes it again
                self.folder.place(row["id"], row["split"])
            self.folder.remove_caption_that_changes(row)
        write_json_lines(self.folder.root / RECORDINGS, recordings)
        write_bytes(self.folder.root / MANIFEST, b"".join(self._line(row) for row in rows))
        for row in touched:
            self.folder.write_caption(row)
        for split in (TRAIN, VALIDATION):
            if (self.folder.root / split).is_dir():
                inside = [row for row in rows if row["split"] == split]
                write_json_lines(self.folder.root / split / "metadata.jsonl", dataset_card.metadata(inside))
        rights = read_json_lines(self.folder.root / "rights.jsonl")
        if rights:
            dataset_card.write(self.folder.root, rows, rights)
        self.folder.delete_clips(
            {row["id"] for row in touched}, {(row["split"], row["id"]) for row in touched}
        )

    def _line(self, row: Row) -> bytes:
        """A line of the manifest; that of a row that has not changed is at hand."""
        known = self._lines.get(row["id"])
        if not known or known[0] is not row:
            known = row, (json_line(row) + "\n").encode()
            self._lines[row["id"]] = known
        return known[1]
