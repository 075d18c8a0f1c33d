"""The road from recordings to dataset: find, prepare what is new, compare, split, caption, write."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data_prep.dataset_folder import DatasetFolder
from data_prep.dataset_lock import dataset_lock
from data_prep.decisions import Decisions, read_decisions
from data_prep.files import PrepError, disk_errors, file_sha256
from data_prep.finishing import finish
from data_prep.library import Library, find_library
from data_prep.one_recording import State
from data_prep.ownership.rights import Rights
from data_prep.ownership.rights_files import read_rights
from data_prep.ownership.withdrawn import read_withdrawn
from data_prep.report import Report
from data_prep.rhythm.timing import read_timing, with_timing
from data_prep.settings import Settings
from data_prep.workers import Job, run_jobs

Progress = Callable[[float, float, str], None]
"""Called with the work done and in all (about the bytes as WAV), and the recording finished last, or ``."""


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
            return finish(folder, library, states, fresh, stated, settings, decisions)


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
