"""The road from recordings to dataset: find, prepare what is new, compare, split, caption, write."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.captioners import caption_by_plug_in
from data_prep.dataset_folder import HIDDEN, DatasetFolder
from data_prep.dataset_lock import dataset_lock
from data_prep.decisions import AWAY, Decisions, keep_reviewed, read_decisions, restore_clips
from data_prep.files import (
    PrepError,
    disk_errors,
    file_sha256,
    write_json,
    write_json_lines,
)
from data_prep.find_recordings import find_recordings
from data_prep.manifest_rows import manifest_rows, recording_rows
from data_prep.near_duplicates import Fingerprint, groups
from data_prep.one_recording import State
from data_prep.overview.figures import look_at
from data_prep.overview.page import write_page
from data_prep.recording import RecordingFault
from data_prep.report import LeftOut, Report, build_report
from data_prep.review.journal import JOURNAL
from data_prep.review.sources import from_here
from data_prep.rights import Rights
from data_prep.rights_files import Stated, read_rights
from data_prep.rights_questions import questions_about
from data_prep.settings import Settings
from data_prep.split import TRAIN, VALIDATION, split
from data_prep.timing import read_timing, with_timing
from data_prep.withdrawn import GATE, Row, read_withdrawn, why
from data_prep.workers import Job, run_jobs
from data_prep.writing import delete_old_states, write_dataset

Progress = Callable[[float, float, str], None]
"""Called with the work done and in all (about the bytes as WAV), and the recording finished last, or ``."""


@dataclass(frozen=True)
class Library:
    """The recordings as found: name (POSIX, below the root) -> path, and what could not even be opened."""

    root: Path
    paths: dict[str, Path]
    faults: list[LeftOut]


def prepare(
    recordings: Path | str,
    dataset: Path | str,
    rights: Rights | None = None,
    settings: Settings | None = None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Prepare the folder `recordings` into the folder `dataset` and report.

    `rights` holds for the recordings that no rights.yaml speaks of; RightsError, which is a PrepError, where nothing is
    known of some, before anything is read or written.
    Doing it again does only what has changed. PrepError, a sentence, where nothing can be prepared; recordings that
    are left out are in the report with their reasons. `workers` processes at most (one for each core).
    """
    settings = settings or Settings()
    folder = DatasetFolder(Path(dataset))
    library = find_library(Path(recordings), folder.root)
    stated = read_rights(library.root, library.paths, rights)
    with disk_errors(folder.root):
        folder.open()
        with dataset_lock(folder.root):
            folder.clean()
            decisions = read_decisions(folder)
            states, fresh = _states(folder, library, settings, decisions, workers, progress)
            return _finish(folder, library, states, fresh, stated, settings, decisions)


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
            f"There is no audio in {root}, also not in its folders: no WAV, AIFF, FLAC, OGG, MP3 or m4a."
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
    decisions: Decisions,
    workers: int | None,
    progress: Progress | None,
) -> tuple[dict[str, State], set[str]]:
    """The state of every recording, and the names of those that were prepared now and not before."""
    states: dict[str, State] = {}
    jobs: list[Job] = []
    seen_pcm = set(read_withdrawn(folder.root))
    hashes = _hashes(library)
    _refuse_another_library(folder, library, hashes)
    timing = read_timing(library.root, library.paths)
    for name, path in library.paths.items():
        asked = _settings_for(with_timing(settings, timing[name]), decisions.bpm.get(hashes.get(name, "")))
        state_file = folder.state_file(name, hashes.get(name, ""), asked.analysis_key())
        state = folder.read_state(state_file)
        if state and _is_complete(folder, state, seen_pcm, decisions):
            states[name] = state
            seen_pcm.add(state.get("pcm_sha256", ""))
        else:
            size = path.stat().st_size if name in hashes else 0
            jobs.append(Job(path, name, state_file, size, asked))
    total = sum(job.work for job in jobs)

    def done(work: float, name: str) -> None:
        if progress:
            progress(work, total, name)

    done(0.0, "")
    states |= run_jobs(jobs, folder.fresh, workers, done)
    return {name: states[name] for name in library.paths}, {job.name for job in jobs}


def _hashes(library: Library) -> dict[str, str]:
    """Name -> SHA-256 of the file, of those that can be read. Hashing leaves Python, so that threads use all cores."""

    def digest(path: Path) -> str | None:
        with contextlib.suppress(OSError):
            return file_sha256(path)
        return None

    with ThreadPoolExecutor() as threads:
        found = zip(library.paths, threads.map(digest, library.paths.values()), strict=True)
        return {name: sha256 for name, sha256 in found if sha256}


def _settings_for(settings: Settings, reviewed_bpm: float | None) -> Settings:
    """The settings for one recording: the tempo that a person gave it in a review goes before any other."""
    return dataclasses.replace(settings, bpm=reviewed_bpm, bpm_range=None) if reviewed_bpm else settings


def _is_complete(folder: DatasetFolder, state: State, seen_pcm: set[str], decisions: Decisions) -> bool:
    """Whether a recording need not be prepared again: left out, the copy of another, or all its slices are there."""
    if state["fault"] or state["pcm_sha256"] in seen_pcm:
        return True
    return all(folder.has_clip(slice_["id"]) for slice_ in decisions.new_slices(state))


def _finish(
    folder: DatasetFolder,
    library: Library,
    states: dict[str, State],
    fresh: set[str],
    stated: dict[str, Stated],
    settings: Settings,
    decisions: Decisions,
) -> Report:
    used, left_out = _used(states, decisions, read_withdrawn(folder.root))
    left_out = sorted([*library.faults, *left_out], key=lambda each: each.recording)
    if not used:
        reasons = "; ".join(f"{each.recording!r}: {each.reason}" for each in left_out[:5])
        raise PrepError(f"No recording in {library.root} could be used ({reasons}).")
    memory = _memory(folder)
    copies = _copies(used, memory)
    places = _places(used, copies, decisions, memory, settings)
    rows, reviewed, questions = [], [], []
    remarks = [
        f"The vocabulary's files, {pattern!r}: no recording is called like that."
        for pattern in (settings.vocabulary.unmatched(list(used)) if settings.vocabulary else [])
    ]
    for name, state in used.items():
        rights = stated[name].rights
        questions += questions_about(name, state["tags"], stated[name].answered)
        new = manifest_rows(name, state, decisions.new_slices(state), places[name], rights, settings)
        kept = keep_reviewed(decisions.rows_of(state), name, places[name], rights.key)
        remarks += caption_by_plug_in(folder, new, settings) if settings.captioner else []
        rows += sorted([*new, *kept], key=lambda row: (row["start_sample"], row["end_sample"]))
        reviewed += kept
    restore_clips(folder, reviewed, decisions.pending, library.paths.__getitem__)
    recordings = recording_rows(used, left_out, decisions.bpm)
    away = decisions.away(used.values())
    if away:
        write_json_lines(folder.root / AWAY, away)
    changed = write_dataset(folder, rows, recordings, _statements(used, stated), decisions.before)
    (folder.root / JOURNAL).unlink(missing_ok=True)
    if not away:
        (folder.root / AWAY).unlink(missing_ok=True)
    write_json(
        _memory_file(folder),
        {
            "copies": copies,
            "compared": _pcm(used),
            "validation": settings.validation,
            "library": from_here(folder.root, library.root),
        },
    )
    delete_old_states(folder, states)
    write_page(folder.root, look_at(folder.root))
    report = build_report(folder.root, rows, used, left_out, copies, decisions, changed, fresh, questions)
    return dataclasses.replace(report, warnings=[*report.warnings, *remarks])


def _statements(used: dict[str, State], stated: dict[str, Stated]) -> list[Rights]:
    """Those of the recordings that are used, each once, in the order of their keys."""
    rights = {stated[name].rights.key: stated[name].rights for name in used}
    return [rights[key] for key in sorted(rights)]


def _used(
    states: dict[str, State], decisions: Decisions, withdrawn: dict[str, Row]
) -> tuple[dict[str, State], list[LeftOut]]:
    """The recordings that make slices, or have reviewed ones; the same sound a second time is left out, and what was
    withdrawn."""
    used: dict[str, State] = {}
    left_out: list[LeftOut] = []
    first_with: dict[str, str] = {}
    for name, state in states.items():
        if state["fault"] and not decisions.carries(state):
            left_out.append(LeftOut(name, state["fault"]["gate"], state["fault"]["reason"]))
        elif gone := withdrawn.get(state["pcm_sha256"]):
            left_out.append(LeftOut(name, GATE, why(gone)))
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
    decisions: Decisions,
    memory: dict[str, Any],
    settings: Settings,
) -> dict[str, str]:
    """Recording -> split. Where it was stays, unless another share is asked for."""
    seconds = {
        state["pcm_sha256"]: sum(each["seconds"] for each in state["slices"] or decisions.rows_of(state))
        for state in used.values()
    }
    was = {
        row["pcm_sha256"]: place
        for row in decisions.before
        if (place := row.get("was_split") or row["split"]) in (TRAIN, VALIDATION)
    }
    same_share = memory.get("validation") == settings.validation
    by_pcm = split(copies, seconds, settings.validation, was if same_share else None)
    return {name: by_pcm[state["pcm_sha256"]] for name, state in used.items()}
