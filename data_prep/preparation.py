"""The road from recordings to dataset: find, prepare what is new, compare, split, caption, write."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_prep import dataset_card
from data_prep.captions import variants
from data_prep.dataset import MANIFEST
from data_prep.dataset_folder import HIDDEN, DatasetFolder, Row
from data_prep.files import (
    PrepError,
    disk_errors,
    file_sha256,
    read_json_lines,
    write_json,
    write_json_lines,
)
from data_prep.near_duplicates import Fingerprint, groups
from data_prep.one_recording import State
from data_prep.quality import size_warnings
from data_prep.recording import SAMPLE_RATE, RecordingFault, find_recordings
from data_prep.report import LeftOut, RecordingReport, Report
from data_prep.rights import Rights
from data_prep.settings import Settings
from data_prep.split import LEFT_OUT, TRAIN, VALIDATION, split
from data_prep.workers import Job, run_jobs

CAPTIONS = 5
Progress = Callable[[int, int, str], None]
"""Called with bytes done, bytes in all, and the name of the recording just finished."""


@dataclass(frozen=True)
class Library:
    """The recordings as found: name (POSIX, below the root) -> path, and what could not even be opened."""

    root: Path
    paths: dict[str, Path]
    faults: list[LeftOut]


def prepare(
    recordings: Path | str,
    dataset: Path | str,
    rights: Rights,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Prepare the folder `recordings` into the folder `dataset` and report.

    Doing it again does only what has changed. PrepError, a sentence, where nothing can be prepared; recordings that
    are left out are in the report with their reasons. `workers` processes at most (one for each core).
    """
    settings = settings or Settings()
    folder = DatasetFolder(Path(dataset))
    library = find_library(Path(recordings), folder.root)
    with disk_errors(folder.root):
        folder.open()
        states, fresh = _states(folder, library, settings, workers, progress)
        return _finish(folder, library, states, fresh, rights, settings)


def find_library(root: Path, dataset: Path) -> Library:
    """The recordings under `root`; PrepError where there are none."""
    if not root.exists():
        raise PrepError(f"{root} does not exist; give the folder that holds the recordings.")
    if not root.is_dir():
        raise PrepError(f"{root} is a file; give the folder that holds the recordings.")
    if dataset.exists() and root.resolve().is_relative_to(dataset.resolve()):
        raise PrepError(
            f"{root} lies in the dataset folder {dataset}; recordings and dataset are two folders."
        )
    found, faults = find_recordings(root, leave=dataset)
    if not found and not faults:
        raise PrepError(
            f"There is no audio in {root}: no WAV, AIFF, FLAC, OGG or MP3, also not in its folders."
        )
    paths = {path.relative_to(root).as_posix(): path for path in found}
    return Library(
        root, paths, [_left_out(path.relative_to(root).as_posix(), fault) for path, fault in faults]
    )


def _left_out(name: str, fault: RecordingFault) -> LeftOut:
    return LeftOut(name, fault.gate, fault.reason)


def _refuse_another_library(folder: DatasetFolder, library: Library, hashes: dict[str, str]) -> None:
    """A dataset mirrors its library: run on another one it would lose all of its slices."""
    before = {row["recording"]: row["file_sha256"] for row in folder.used_recordings()}
    if before and not before.keys() & hashes.keys() and not set(before.values()) & set(hashes.values()):
        raise PrepError(
            f"{folder.root} was made from other recordings ({min(before)} ...), and none of them is in "
            f"{library.root}. Give another dataset folder, or put all recordings under one folder."
        )


def _states(
    folder: DatasetFolder,
    library: Library,
    settings: Settings,
    workers: int | None,
    progress: Progress | None,
) -> tuple[dict[str, State], set[str]]:
    """The state of every recording, and the names of those that were prepared now and not before."""
    states: dict[str, State] = {}
    jobs: list[Job] = []
    seen_pcm: set[str] = set()
    hashes = _hashes(library)
    _refuse_another_library(folder, library, hashes)
    for name, path in library.paths.items():
        state_file = folder.state_file(name, hashes.get(name, ""), settings.analysis_key())
        state = folder.read_state(state_file)
        if state and _is_complete(folder, state, seen_pcm):
            states[name] = state
            seen_pcm.add(state.get("pcm_sha256", ""))
        else:
            jobs.append(Job(path, name, state_file, path.stat().st_size if name in hashes else 0))
    total, finished = sum(job.bytes for job in jobs), 0

    def done(job: Job) -> None:
        nonlocal finished
        finished += job.bytes
        if progress:
            progress(finished, total, job.name)

    if progress:
        progress(0, total, "")
    states |= run_jobs(jobs, folder.fresh, settings, workers, done)
    return {name: states[name] for name in library.paths}, {job.name for job in jobs}


def _hashes(library: Library) -> dict[str, str]:
    """Name -> SHA-256 of the file, of those that can be read."""
    hashes = {}
    for name, path in library.paths.items():
        with contextlib.suppress(OSError):
            hashes[name] = file_sha256(path)
    return hashes


def _is_complete(folder: DatasetFolder, state: State, seen_pcm: set[str]) -> bool:
    """Whether a recording need not be prepared again: left out, the copy of another, or all its slices are there."""
    if state["fault"] or state["pcm_sha256"] in seen_pcm:
        return True
    return all(folder.has_clip(slice_["id"]) for slice_ in state["slices"])


def _finish(
    folder: DatasetFolder,
    library: Library,
    states: dict[str, State],
    fresh: set[str],
    rights: Rights,
    settings: Settings,
) -> Report:
    used, left_out = _used(states)
    left_out = sorted([*library.faults, *left_out], key=lambda each: each.recording)
    if not used:
        reasons = "; ".join(f"{each.recording!r}: {each.reason}" for each in left_out[:5])
        raise PrepError(f"No recording in {library.root} could be used ({reasons}).")
    memory = _memory(folder)
    copies = _copies(used, memory)
    before = folder.manifest()
    places = _places(used, copies, before, memory, settings)
    rows = [row for name, state in used.items() for row in _rows(name, state, places[name], rights, settings)]
    edited = _keep_what_people_wrote(folder, rows, before)
    changed = _write(folder, rows, used, left_out, rights, before)
    write_json(
        _memory_file(folder), {"copies": copies, "compared": _pcm(used), "validation": settings.validation}
    )
    _delete_old_states(folder, states)
    return _report(folder, rows, used, left_out, copies, before, edited, changed, fresh)


def _used(states: dict[str, State]) -> tuple[dict[str, State], list[LeftOut]]:
    """The recordings that make slices; the same sound a second time is left out."""
    used: dict[str, State] = {}
    left_out: list[LeftOut] = []
    first_with: dict[str, str] = {}
    for name, state in states.items():
        if state["fault"]:
            left_out.append(LeftOut(name, state["fault"]["gate"], state["fault"]["reason"]))
        elif state["pcm_sha256"] in first_with:
            reason = f"the same sound, sample for sample, as {first_with[state['pcm_sha256']]}"
            left_out.append(LeftOut(name, "duplicate", reason))
        else:
            first_with[state["pcm_sha256"]] = name
            used[name] = state
    return used, left_out


def _memory_file(folder: DatasetFolder) -> Path:
    return folder.root / HIDDEN / "prep.json"


def _memory(folder: DatasetFolder) -> dict[str, Any]:
    return folder.read_state(_memory_file(folder)) or {}


def _pcm(used: dict[str, State]) -> list[str]:
    return sorted(state["pcm_sha256"] for state in used.values())


def _copies(used: dict[str, State], memory: dict[str, Any]) -> list[list[str]]:
    """Groups of PCM hashes that are copies of each other; compared again only where the recordings changed."""
    if memory.get("compared") == _pcm(used):
        return memory["copies"]
    return groups(
        {state["pcm_sha256"]: Fingerprint.from_text(state["fingerprint"]) for state in used.values()}
    )


def _places(
    used: dict[str, State],
    copies: list[list[str]],
    before: list[Row],
    memory: dict[str, Any],
    settings: Settings,
) -> dict[str, str]:
    """Recording -> split. Where it was stays, unless another share is asked for."""
    seconds = {
        state["pcm_sha256"]: sum(slice_["seconds"] for slice_ in state["slices"]) for state in used.values()
    }
    was = {row["pcm_sha256"]: row["split"] for row in before if row["split"] in (TRAIN, VALIDATION)}
    same_share = memory.get("validation") == settings.validation
    by_pcm = split(copies, seconds, settings.validation, was if same_share else None)
    return {name: by_pcm[state["pcm_sha256"]] for name, state in used.items()}


def _rows(name: str, state: State, place: str, rights: Rights, settings: Settings) -> list[Row]:
    rows = []
    for slice_ in state["slices"]:
        known = {key: each["value"] for key, each in slice_["fields"].items() if each["source"] != "default"}
        captions = variants(known, settings.trigger, CAPTIONS)
        rows.append(
            {
                "id": slice_["id"],
                "split": place,
                "recording": name,
                "pcm_sha256": state["pcm_sha256"],
                "sample_rate": SAMPLE_RATE,
                "start_sample": slice_["start_sample"],
                "end_sample": slice_["end_sample"],
                "gain_db": state["gain_db"],
                "fade_in_samples": slice_["fade_in_samples"],
                "fade_out_samples": slice_["fade_out_samples"],
                "clip_sha256": slice_["clip_sha256"],
                "seconds": slice_["seconds"],
                "recording_seconds": state["seconds"],
                "text": captions[0],
                "captions": list(captions),
                "fields": slice_["fields"],
                "quality": slice_["quality"],
                "reviewed": False,
                "rights": rights.key,
            }
        )
    return rows


def _keep_what_people_wrote(folder: DatasetFolder, rows: list[Row], before: list[Row]) -> int:
    """Carry reviewed rows over, and take captions edited in a .txt as reviewed; how many of those there are."""
    old = {row["id"]: row for row in before}
    edited = 0
    for row in rows:
        was = old.get(row["id"])
        if not was:
            continue
        if was.get("reviewed"):
            row |= {key: was[key] for key in ("text", "captions", "fields", "reviewed")}
            if was["split"] == LEFT_OUT:
                row["split"] = LEFT_OUT
        if text := folder.edited_caption(was):
            row |= {"text": text, "captions": [text], "reviewed": True}
            edited += 1
    return edited


def _write(
    folder: DatasetFolder,
    rows: list[Row],
    used: dict[str, State],
    left_out: list[LeftOut],
    rights: Rights,
    before: list[Row],
) -> bool:
    """Bring the folder to `rows`; False where it was there already."""
    old = {row["id"]: row for row in before}
    changes = [folder.place(row["id"], row["split"]) for row in rows]
    for row in rows:
        folder.remove_caption_that_changes(row)
    rights_row = rights.row(_date(folder, rights))
    changes.append(write_json_lines(folder.root / "rights.jsonl", [rights_row]))
    changes.append(write_json_lines(folder.root / MANIFEST, rows))
    changes += [folder.write_caption(row) for row in rows]
    for place in (TRAIN, VALIDATION):
        inside = [row for row in rows if row["split"] == place]
        if inside or (folder.root / place).is_dir():
            changes.append(
                write_json_lines(folder.root / place / "metadata.jsonl", dataset_card.metadata(inside))
            )
    changes.append(write_json_lines(folder.root / "recordings.jsonl", _recording_rows(used, left_out)))
    changes += dataset_card.write(folder.root, rows, rights_row)
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


def _recording_rows(used: dict[str, State], left_out: list[LeftOut]) -> list[Row]:
    """recordings.jsonl: what is known of each recording, without what is only for the next run."""
    private = {"slices", "fingerprint", "settings", "fault"}
    rows = [
        {key: value for key, value in state.items() if key not in private} | {"left_out": None}
        for state in used.values()
    ]
    rows += [
        {"recording": each.recording, "left_out": {"gate": each.gate, "reason": each.reason}}
        for each in left_out
    ]
    return sorted(rows, key=lambda row: str(row["recording"]))


def _known_clips(folder: DatasetFolder) -> set[str]:
    """Ids of every slice that some state, of now or before, speaks of, and of what lies ready and is spoken of by none."""
    states = [folder.read_state(path) or {} for path in folder.states.glob("*.json")]
    ids = {slice_["id"] for state in states for slice_ in state.get("slices", [])}
    return ids | {path.stem for path in folder.fresh.glob("*.wav")}


def _delete_old_states(folder: DatasetFolder, states: dict[str, State]) -> None:
    keep = {
        folder.state_file(name, state["file_sha256"], state["settings"]).name
        for name, state in states.items()
        if "file_sha256" in state
    }
    for path in folder.states.glob("*.json"):
        if path.name not in keep:
            path.unlink()


def _report(
    folder: DatasetFolder,
    rows: list[Row],
    used: dict[str, State],
    left_out: list[LeftOut],
    copies: list[list[str]],
    before: list[Row],
    edited: int,
    changed: bool,
    fresh: set[str],
) -> Report:
    minutes = sum(row["seconds"] for row in rows) / 60
    counts = {place: sum(row["split"] == place for row in rows) for place in (TRAIN, VALIDATION)}
    warnings = size_warnings(len(rows), minutes, len(used))
    ids = {row["id"] for row in rows}
    lost = sum(bool(row.get("reviewed")) and row["id"] not in ids for row in before)
    if lost:
        warnings.append(f"{lost} reviewed captions went with their slices, which are cut differently now.")
    if not counts[VALIDATION]:
        warnings.append("Nothing is held out: whether an adapter learns or memorises cannot be told.")
    name_of = {state["pcm_sha256"]: name for name, state in used.items()}
    return Report(
        dataset=str(folder.root),
        recordings=[_recording_report(name, state, rows, name in fresh) for name, state in used.items()],
        left_out=left_out,
        slices=len(rows),
        train_slices=counts[TRAIN],
        validation_slices=counts[VALIDATION],
        minutes=round(minutes, 2),
        copies=[sorted(name_of[pcm] for pcm in group) for group in copies if len(group) > 1],
        removed=sorted({row["recording"] for row in before} - set(used)),
        edited_captions=edited,
        warnings=warnings,
        changed=changed,
    )


def _recording_report(name: str, state: State, rows: list[Row], done_now: bool) -> RecordingReport:
    mine = [row for row in rows if row["recording"] == name]
    return RecordingReport(
        recording=name,
        split=mine[0]["split"],
        slices=len(mine),
        seconds=state["seconds"],
        source_rate=state["source_rate"],
        channels=state["channels"],
        gain_db=state["gain_db"],
        hits=state["hits"],
        tempo=state["tempo"],
        metre=state["metre"],
        downbeat_confidence=state["downbeat_confidence"],
        gates=state["gates"],
        warnings=state["warnings"],
        rests=[
            (round(start / SAMPLE_RATE, 3), round(end / SAMPLE_RATE, 3), why)
            for start, end, why in state["rests"]
        ],
        done_now=done_now,
    )
