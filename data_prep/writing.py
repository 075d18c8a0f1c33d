"""Bringing a dataset folder to its new rows, in an order in which it may be interrupted at any moment."""

from __future__ import annotations

from datetime import UTC, datetime

from data_prep import dataset_card
from data_prep.dataset import MANIFEST
from data_prep.dataset_folder import DatasetFolder, Row
from data_prep.files import read_json_lines, write_json_lines
from data_prep.one_recording import State
from data_prep.ownership.rights import Rights
from data_prep.split import TRAIN, VALIDATION


def write_dataset(
    folder: DatasetFolder,
    rows: list[Row],
    recordings: list[Row],
    statements: list[Rights],
    before: list[Row],
) -> bool:
    """Bring the folder to `rows`; False where it was there already."""
    old = {row["id"]: row for row in before}
    changes = [folder.place(row["id"], row["split"]) for row in rows]
    for row in rows:
        folder.remove_caption_that_changes(row)
    rights = [statement.row(_date(folder, statement)) for statement in statements]
    changes.append(write_json_lines(folder.root / "rights.jsonl", rights))
    changes.append(write_json_lines(folder.root / MANIFEST, rows))
    changes += [folder.write_caption(row) for row in rows]
    for place in (TRAIN, VALIDATION):
        inside = [row for row in rows if row["split"] == place]
        if inside or (folder.root / place).is_dir():
            changes.append(
                write_json_lines(folder.root / place / "metadata.jsonl", dataset_card.metadata(inside))
            )
    changes.append(write_json_lines(folder.root / "recordings.jsonl", recordings))
    changes += dataset_card.write(folder.root, rows, rights)
    keep = {(row["split"], row["id"]) for row in rows}
    known = set(old) | _known_clips(folder)
    changes.append(folder.delete_clips(known, keep))
    return any(changes)


def _date(folder: DatasetFolder, rights: Rights) -> str:
    """The day of the statement: an earlier one, where the same was stated before."""
    for row in read_json_lines(folder.root / "rights.jsonl"):
        if row["rights"] == rights.key:
            return str(row["date"])
    return datetime.now(UTC).date().isoformat()


def _known_clips(folder: DatasetFolder) -> set[str]:
    """Ids of the slices in the states of now and of before, and of those that lie ready and belong to none."""
    states = [folder.read_state(path) or {} for path in folder.states.glob("*.json")]
    ids = {slice_["id"] for state in states for slice_ in state.get("slices", [])}
    return ids | {path.stem for path in folder.fresh.glob("*.wav")}


def delete_old_states(folder: DatasetFolder, states: dict[str, State]) -> None:
    keep = {
        folder.state_file(name, state["file_sha256"], state["settings"]).name
        for name, state in states.items()
        if "file_sha256" in state
    }
    for path in folder.states.glob("*.json"):
        if path.name not in keep:
            path.unlink()
