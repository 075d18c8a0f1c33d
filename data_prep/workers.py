"""Recordings prepared by several processes at once, in an order that does not matter."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_prep.files import PrepError
from data_prep.one_recording import State, prepare_recording
from data_prep.settings import Settings

SMALL_BYTES = 2_000_000
"""Less than this is done before a second process would have started."""


@dataclass(frozen=True)
class Job:
    """One recording to prepare, how, and where its results go."""

    path: Path
    name: str
    state_file: Path
    bytes: int
    settings: Settings


def run_jobs(
    jobs: list[Job], clip_folder: Path, workers: int | None, done: Callable[[Job], None]
) -> dict[str, State]:
    """Prepare all; name -> state. `done` is called after each. The longest recordings come first.

    PrepError where a process dies (memory, mostly); whatever a job raises is raised. What was finished is kept.
    """
    jobs = sorted(jobs, key=lambda job: -job.bytes)
    count = min(workers or os.cpu_count() or 1, len(jobs))
    if count <= 1 or sum(job.bytes for job in jobs) < SMALL_BYTES:
        return dict(_one_by_one(jobs, clip_folder, done))
    states: dict[str, State] = {}
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))
    try:
        with _ctrl_c_ignored():
            futures = {
                pool.submit(
                    prepare_recording, job.path, job.name, job.state_file, clip_folder, job.settings
                ): job
                for job in jobs
            }
        for future in as_completed(futures):
            states[futures[future].name] = future.result()
            done(futures[future])
    except BrokenProcessPool as error:
        raise PrepError(
            "A process ended in the middle of a recording; most often memory ran out. Run the same command again "
            "with --workers 1: what is finished is kept."
        ) from error
    except KeyboardInterrupt:
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()  # whatever they are writing has a temporary name
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return states


def _one_by_one(jobs: list[Job], clip_folder: Path, done: Callable[[Job], None]) -> list[tuple[str, State]]:
    states = []
    for job in jobs:
        states.append(
            (job.name, prepare_recording(job.path, job.name, job.state_file, clip_folder, job.settings))
        )
        done(job)
    return states


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Processes started here ignore Ctrl-C, which a terminal sends to all: it is the parent that ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
