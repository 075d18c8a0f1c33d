"""Recordings prepared by several processes at once, in an order that does not matter."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import psutil

from data_prep.files import PrepError
from data_prep.one_recording import State, prepare_recording
from data_prep.settings import Settings

SMALL_BYTES = 2_000_000
"""Less than this is done before a second process would have started."""
BYTES_OF_A_WORKER = 700_000_000
"""No process needs more, whatever the length of its recording (`woodshed bench prep-speed`)."""
LOOK_SECONDS = 0.5
_PLAIN = frozenset({".wav", ".wave", ".bwf", ".rf64", ".w64", ".aif", ".aiff", ".aifc", ".caf", ".au"})
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One recording to prepare, how, and where its results go."""

    path: Path
    name: str
    state_file: Path
    bytes: int
    settings: Settings

    @property
    def work(self) -> float:
        """About how much there is to do, in bytes of WAV: a small MP3 lasts as long as a large WAV."""
        suffix = self.path.suffix.lower()
        return self.bytes * (1.0 if suffix in _PLAIN else 2.0 if suffix == ".flac" else 8.0)


def run_jobs(
    jobs: list[Job], clip_folder: Path, workers: int | None, done: Callable[[float, str], None]
) -> dict[str, State]:
    """Prepare all; name -> state. The longest recordings come first.

    `done` is called now and then with the work done and the name of the recording that was finished last. PrepError
    where a process dies (memory, mostly); whatever a job raises is raised. What was finished is kept.
    """
    jobs = sorted(jobs, key=lambda job: -job.work)
    count = min(workers or _processes(), len(jobs))
    if count <= 1 or sum(job.bytes for job in jobs) < SMALL_BYTES:
        return _one_by_one(jobs, clip_folder, done)
    others = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    work_done = context.Value("d", 0.0)
    pool = ProcessPoolExecutor(count, context, _begin, (work_done,))
    try:
        with _ctrl_c_ignored(), _one_thread_each():
            futures = {pool.submit(_prepare_here, job, clip_folder): job for job in jobs}
        return _collect(futures, work_done, done)
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


def _processes() -> int:
    """One for each core that this process may use, as many as there is memory for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, psutil.virtual_memory().available // BYTES_OF_A_WORKER))


def _collect(
    futures: dict[Future[State], Job], work_done: Synchronized[float], done: Callable[[float, str], None]
) -> dict[str, State]:
    states: dict[str, State] = {}
    name = ""
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, LOOK_SECONDS, FIRST_COMPLETED)
        for future in finished:
            name = futures[future].name
            states[name] = future.result()
        done(work_done.value, name)
    return states


def _one_by_one(jobs: list[Job], clip_folder: Path, done: Callable[[float, str], None]) -> dict[str, State]:
    states: dict[str, State] = {}
    finished = 0.0

    def count(work: float) -> None:
        nonlocal finished
        finished += work
        done(finished, "")

    for job in jobs:
        states[job.name] = _prepare(job, clip_folder, count)
        done(finished, job.name)
    return states


def _prepare(job: Job, clip_folder: Path, count: Callable[[float], None]) -> State:
    """One job; `count` is called with the work that was done since it was called before."""
    before = 0.0

    def advance(share: float) -> None:
        nonlocal before
        count((share - before) * job.work)
        before = share

    state = prepare_recording(job.path, job.name, job.state_file, clip_folder, job.settings, advance)
    advance(1.0)
    return state


_work_done: Synchronized[float]
"""In a worker: the work that all of them have done, shared."""


def _begin(work_done: Synchronized[float]) -> None:
    global _work_done
    _work_done = work_done


def _prepare_here(job: Job, clip_folder: Path) -> State:
    """One job in a worker."""

    def count(work: float) -> None:
        with _work_done.get_lock():
            _work_done.value += work

    return _prepare(job, clip_folder, count)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started here use one thread each for products of matrices: there is one of them for each core."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


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
