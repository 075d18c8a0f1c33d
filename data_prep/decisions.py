"""What people decided in reviews, and how a new preparation keeps it.

A reviewed row stays as it is, whatever the settings: its span, its sound, its captions and facts. New slices of the
same recording that overlap it are not taken into the dataset. The tempo that a person gave a recording is the tempo
with which it is prepared again. Reviewed rows whose recording is away wait in `away.jsonl` and come back with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.dataset_folder import DatasetFolder, Row
from data_prep.files import PrepError, file_sha256, replace
from data_prep.one_recording import State
from data_prep.review.journal import read_journal, replay, version_of
from data_prep.slicing.clip import clip_of
from data_prep.sound.recording import Decoded, RecordingFault, decode
from data_prep.split import LEFT_OUT

AWAY = "away.jsonl"
OVERLAP = 0.25
"""New slices go that share this much of themselves, or of a reviewed one, with it: moving a cut by a beat does not
cost the slice next to it."""


@dataclass(frozen=True)
class Decisions:
    """`reviewed`: PCM hash of a recording -> its reviewed rows; `bpm`: SHA-256 of a file -> the tempo a person gave;
    `edited`: how many captions were found edited in their .txt; `before`: the rows as they were, reviews included;
    `pending`: ids of those that only the journal knew, whose sound may be that of an earlier cut."""

    reviewed: dict[str, list[Row]]
    bpm: dict[str, float]
    edited: int
    before: list[Row]
    pending: set[str]

    def rows_of(self, state: State) -> list[Row]:
        return self.reviewed.get(state.get("pcm_sha256", ""), [])

    def new_slices(self, state: State) -> list[State]:
        """The slices of a prepared recording that no reviewed one stands in the way of."""
        kept = self.rows_of(state)
        if not kept:
            return list(state["slices"])
        ids = {row["id"] for row in kept}
        starts, ends = (np.array([row[key] for row in kept]) for key in ("start_sample", "end_sample"))
        return [
            each
            for each in state["slices"]
            if each["id"] not in ids
            and (_overlap(each["start_sample"], each["end_sample"], starts, ends) < OVERLAP).all()
        ]

    def dropped(self, state: State) -> int:
        """How many slices of a recording overlap reviewed ones and are others than these."""
        ids = {row["id"] for row in self.rows_of(state)}
        others = sum(each["id"] not in ids for each in state["slices"])
        return others - len(self.new_slices(state))

    def away(self, used: Iterable[State]) -> list[Row]:
        """Reviewed rows of recordings that are not among those used."""
        there = {state["pcm_sha256"] for state in used}
        return [row for pcm, rows in self.reviewed.items() if pcm not in there for row in rows]

    def carries(self, state: State) -> bool:
        """Whether a recording that makes no slice now is in the dataset all the same, by its reviewed ones."""
        return bool(self.rows_of(state)) and "fingerprint" in state and "hits" in state


def read_decisions(folder: DatasetFolder) -> Decisions:
    """Of the manifest, of the journal of reviews, and of captions edited in their .txt."""
    manifest = folder.manifest()
    captions = {row["id"]: text for row in manifest if (text := folder.edited_caption(row))}
    before, recordings, pending = replay(manifest, folder.recordings(), read_journal(folder.root))
    reviewed = defaultdict(list)
    for index, row in enumerate(before):
        if text := captions.get(row["id"]):
            before[index] = row | {
                "text": text, "captions": [text], "reviewed": True, "version": version_of(row) + 1,
            }  # fmt: skip
        if before[index].get("reviewed"):
            reviewed[row["pcm_sha256"]].append(before[index])
    there = {row["id"] for row in before}
    for row in folder.rows(AWAY, "id"):
        if row["id"] not in there:
            reviewed[row["pcm_sha256"]].append(row)
    bpm = {row["file_sha256"]: row["reviewed_bpm"] for row in recordings if row.get("reviewed_bpm")}
    return Decisions(dict(reviewed), bpm, len(captions), before, pending)


def keep_reviewed(rows: list[Row], name: str, place: str, rights: str) -> list[Row]:
    """Reviewed rows as they stay: of the recording as it is named now, on the side where it is now."""
    kept = []
    for row in rows:
        split = {"split": LEFT_OUT, "was_split": place} if row["split"] == LEFT_OUT else {"split": place}
        kept.append(row | split | {"recording": name, "rights": rights})
    return kept


def restore_clips(
    folder: DatasetFolder, rows: Iterable[Row], pending: set[str], path_of: Callable[[str], Path]
) -> None:
    """See that every reviewed row has its sound: rebuilt from the recording at `path_of(name)` where it is missing,
    or, of the ids `pending`, that of another cut. PrepError where the recording does not give it."""
    decoded: tuple[str, Decoded] | None = None
    for row in rows:
        clip = folder.find_clip(row["id"])
        (folder.fresh / f"{row['id']}.wav").unlink(missing_ok=True)  # cut as it was before it was reviewed
        unsure = row["id"] in pending
        if clip and clip.parent != folder.fresh and not (unsure and file_sha256(clip) != row["clip_sha256"]):
            continue
        if not decoded or decoded[0] != row["recording"]:
            decoded = row["recording"], _decode(path_of(row["recording"]), folder.fresh)
        rebuild(folder, row, decoded[1])


def rebuild(folder: DatasetFolder, row: Row, decoded: Decoded) -> None:
    """Write the WAV of a row from its recording; PrepError where it is not the sound that the row names."""
    content = clip_of(row, decoded)
    for place in folder.places():
        (place / f"{row['id']}.wav").unlink(missing_ok=True)
    replace(folder.root / row["split"] / f"{row['id']}.wav", lambda beside: beside.write_bytes(content))


def _decode(path: Path, scratch: Path) -> Decoded:
    try:
        return decode(path, scratch)
    except RecordingFault as fault:
        raise PrepError(f"{path} is needed to cut reviewed slices, but {fault}.") from fault


def _overlap(start: int, end: int, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """What a span shares with each of others, as a share of the shorter of the two; below 0 where they are apart."""
    shared = np.minimum(end, ends) - np.maximum(start, starts)
    return shared / np.minimum(end - start, ends - starts)
