"""The dataset folder on disk: what belongs in it, and how it goes from one state to the next.

At every moment the manifest names only files that are there: new files come first, then the manifest, then what it
no longer names is deleted. Whatever is interrupted, the next run finishes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.dataset import MANIFEST, RECORDINGS, SPLITS
from data_prep.files import PrepError, read_json_lines, replace, write_bytes

Row = dict[str, Any]
HIDDEN = ".woodshed"


@dataclass(frozen=True)
class DatasetFolder:
    """Paths within `root`, and the few things that are done to them."""

    root: Path

    @property
    def states(self) -> Path:
        """One JSON per recording: what is known of it."""
        return self.root / HIDDEN / "recordings"

    @property
    def fresh(self) -> Path:
        """Slices that are cut and not yet in a split."""
        return self.root / HIDDEN / "slices"

    def open(self) -> None:
        """Make the folder, or see that it is one of ours; PrepError where it holds something else."""
        if self.root.is_file():
            raise PrepError(f"{self.root} is a file; give the folder that the dataset is to be written to.")
        ours = (self.root / HIDDEN).is_dir() or (self.root / MANIFEST).is_file()
        if not ours and self.root.is_dir() and any(self.root.iterdir()):
            raise PrepError(
                f"{self.root} is not empty and no dataset of ours; give a new or an empty folder."
            )
        for folder in (self.states, self.fresh):
            folder.mkdir(parents=True, exist_ok=True)

    def clean(self) -> None:
        """Delete what was being written when a run was cut off."""
        for leftover in [
            *self.root.glob(".*.part"),
            *self.root.glob("*/.*.part"),
            *self.states.glob(".*.part"),
            *self.fresh.glob(".*.part"),
        ]:
            leftover.unlink()

    def state_file(self, name: str, file_sha256: str, settings_key: str) -> Path:
        key = hashlib.sha256("\0".join([name, file_sha256, settings_key]).encode("utf-8", "surrogatepass"))
        return self.states / f"{key.hexdigest()[:24]}.json"

    def read_state(self, path: Path) -> dict[str, Any] | None:
        try:
            state = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return state if isinstance(state, dict) else None

    def has_clip(self, clip_id: str) -> bool:
        return self.find_clip(clip_id) is not None

    def find_clip(self, clip_id: str) -> Path | None:
        """Where the WAV is: in a split, or freshly cut and in none yet."""
        paths = (folder / f"{clip_id}.wav" for folder in self.places())
        return next((path for path in paths if path.is_file()), None)

    def manifest(self) -> list[Row]:
        """PrepError for a row that is none, or whose name leads out of the folder."""
        return self.rows(MANIFEST, "id")

    def recordings(self) -> list[Row]:
        """PrepError for a row that is none."""
        return self.rows(RECORDINGS, "recording")

    def rows(self, name: str, key: str) -> list[Row]:
        """The rows of a file of ours, each named by `key`; none where it is not there."""
        try:
            rows = read_json_lines(self.root / name)
        except ValueError as error:
            raise PrepError(f"{self.root / name} is damaged ({error}); bring it back from a copy.") from error
        for number, row in enumerate(rows, start=1):
            value = row.get(key) if isinstance(row, dict) else None
            out = key == "id" and isinstance(value, str) and not is_clip_name(value)
            if not isinstance(value, str) or out or (key == "id" and row.get("split") not in SPLITS):
                raise PrepError(f"{self.root / name}, row {number}: this is no row of ours; delete it.")
        return rows

    def used_recordings(self) -> list[Row]:
        """The rows of recordings.jsonl that made slices."""
        return [row for row in self.recordings() if not row["left_out"]]

    def edited_caption(self, row: Row) -> str | None:
        """The caption a person has written into the .txt of this row since the manifest; None where none has."""
        path = self.root / row["split"] / f"{row['id']}.txt"
        try:
            if path.stat().st_mtime_ns <= (self.root / MANIFEST).stat().st_mtime_ns:
                return None
            text = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return text if text and text != row["text"].strip() else None

    def place(self, clip_id: str, split: str) -> bool:
        """See that the WAV is in the folder of its split; False where it already was."""
        target = self.root / split / f"{clip_id}.wav"
        if target.is_file():
            return False
        target.parent.mkdir(exist_ok=True)
        fresh = self.fresh / target.name
        if fresh.is_file():
            fresh.replace(target)
            return True
        present = next(path for folder in self.places() if (path := folder / target.name).is_file())
        replace(target, lambda beside: _link_or_copy(present, beside))
        return True

    def remove_caption_that_changes(self, row: Row) -> None:
        """Delete a .txt that will say something else, so that a run that is cut off here leaves no caption that
        differs from the manifest, which would look like one that a person wrote."""
        path = self.root / row["split"] / f"{row['id']}.txt"
        if path.is_file() and path.read_bytes() != row["text"].encode():
            path.unlink()

    def write_caption(self, row: Row) -> bool:
        return write_bytes(self.root / row["split"] / f"{row['id']}.txt", row["text"].encode())

    def delete_clips(self, clip_ids: set[str], keep: set[tuple[str, str]]) -> bool:
        """Delete WAV and caption of `clip_ids` wherever (split, id) is not in `keep`."""
        deleted = False
        for folder in self.places():
            for clip_id in clip_ids:
                if (folder.name, clip_id) in keep:
                    continue
                for path in (folder / f"{clip_id}.wav", folder / f"{clip_id}.txt"):
                    if path.is_file():
                        path.unlink()
                        deleted = True
        return deleted

    def places(self) -> list[Path]:
        return [self.root / split for split in SPLITS] + [self.fresh]


def is_clip_name(text: str) -> bool:
    """Whether an id can be the name of a file in a split, and nothing else."""
    return bool(text) and not set(text) & set("/\\\0:") and text not in (".", "..")


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
