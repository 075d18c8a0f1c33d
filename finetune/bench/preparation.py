"""How long `woodshed prep` takes and how much memory it needs, on a library of drums that is made for it.

Every hour of the library is one take of 20 minutes, ten of 3 minutes, and ten minutes of loops of 15 seconds: 51
recordings, each with a kit, a groove and a tempo of its own. Prep runs in a process of its own; its memory, and that
of its workers, is looked at five times a second, shared pages counted once (PSS) where the system tells.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import soundfile
from rich.table import Table

from finetune.base_model.starter.drums import SAMPLE_RATE, Kit
from finetune.base_model.starter.performance import mix_down, play
from finetune.base_model.starter.styles import Groove, draw_groove
from finetune.errors import WoodshedError
from finetune.progress import progress_bar

HOUR = (20 * 60, *[3 * 60] * 10, *[15] * 40)
"""Seconds of each recording of an hour."""
SECTION_SECONDS, SECTIONS = 30, 3
"""Takes are made of this many sections of their own, one after another at levels drawn anew: it is prep that is to take
time here."""
LOOK_SECONDS = 0.2
TARGET_SECONDS_PER_HOUR = 120.0
"""Ten hours in twenty minutes, on two cores."""


@dataclass(frozen=True)
class Prepared:
    """One library: `hours` of sound in `recordings` files; `seconds` by the clock, `again_seconds` for a second run
    that finds nothing to do, `core_seconds` of all processes, `peak_bytes` of them together, `load` of the machine
    (processes that wanted to run, one-minute mean) before it began."""

    hours: float
    recordings: int
    slices: int
    left_out: int
    workers: int
    seconds: float
    again_seconds: float
    core_seconds: float
    peak_bytes: int
    load: float

    @property
    def seconds_per_hour(self) -> float:
        return self.seconds / self.hours

    def as_dict(self) -> dict[str, float]:
        return vars(self) | {
            "seconds_per_hour": self.seconds_per_hour,
            "core_seconds_per_second": self.core_seconds / (self.hours * 3600),
        }


def measure(hours: list[float], single: bool, workers: int | None, folder: Path | None) -> list[Prepared]:
    """A library of each length, or a `single` recording, in a temporary folder (in `folder`), deleted at the end."""
    measured = []
    for length in hours:
        with tempfile.TemporaryDirectory(prefix="woodshed-bench-", dir=folder) as place:
            make_library(Path(place) / "recordings", length, single)
            measured.append(_measure(Path(place), length, workers or os.cpu_count() or 1))
    return measured


def make_library(folder: Path, hours: float, single: bool) -> list[Path]:
    """16-bit WAVs with the tempo in their names, the same for the same length; the last is cut to fit."""
    folder.mkdir(parents=True)
    paths: list[Path] = []
    left = round(hours * 3600)
    with progress_bar("Recordings to prepare", left) as report:
        while left >= 1:
            seconds = left if single else min(HOUR[len(paths) % len(HOUR)], left)
            paths.append(_record(folder, len(paths), seconds))
            left -= seconds
            report(round(hours * 3600) - left, f"{len(paths)} recordings")
    return paths


def _record(folder: Path, number: int, seconds: int) -> Path:
    rng = np.random.default_rng([11, number])
    kit = Kit(int(rng.integers(2**31)))
    groove = draw_groove(rng, kit.pieces, "4/4")
    bars = max(1, round(min(SECTION_SECONDS, seconds) / groove.bar_seconds))
    wanted = min(SECTIONS, -(-seconds // SECTION_SECONDS))
    sections = [_section(kit, groove, bars, rng) for _ in range(wanted)]
    path = folder / f"take_{number:04d}_{groove.bpm:.0f}bpm.wav"
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2, "PCM_16") as file:
        left = seconds * SAMPLE_RATE
        while left > 0:
            section = sections[int(rng.integers(wanted))][:, :left]
            file.write((rng.uniform(0.5, 0.9) * section).T)
            left -= section.shape[1]
    return path


def _section(kit: Kit, groove: Groove, bars: int, rng: np.random.Generator) -> np.ndarray:
    """Some bars (2, samples), peak 1."""
    length = round(bars * groove.bar_seconds * SAMPLE_RATE)
    sound = mix_down(
        kit, [hit for hit in play(groove, bars, rng) if hit[1] < length], length, rng, fold=False
    )
    return sound / max(float(np.abs(sound).max()), 1e-6)


def _measure(place: Path, hours: float, workers: int) -> Prepared:
    command = [
        sys.executable, "-m", "finetune.cli", "prep", str(place / "recordings"), str(place / "dataset"), "--json",
        "--workers", str(workers), "--basis", "own_recording", "--recorded-by", "woodshed bench",
    ]  # fmt: skip
    load = psutil.getloadavg()[0]
    seconds, core_seconds, peak_bytes, report = _run(command)
    again_seconds, _, _, again = _run(command)
    if again["changed"]:
        raise WoodshedError("The second run changed the dataset of the first; that is a fault of prep.")
    return Prepared(
        hours,
        len(report["recordings"]) + len(report["left_out"]),
        report["slices"],
        len(report["left_out"]),
        workers,
        seconds,
        again_seconds,
        core_seconds,
        peak_bytes,
        load,
    )


def _run(command: list[str]) -> tuple[float, float, int, dict]:
    """Seconds by the clock, seconds of all cores, highest memory of the process and its children, its report."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = psutil.Popen(command, stdout=out, stderr=err)
        peak = 0
        core_seconds: dict[int, float] = {}
        while process.poll() is None:
            family = _family(process)
            peak = max(peak, sum(_memory_of(each) for each in family))
            core_seconds |= {
                each.pid: _core_seconds_of(each, core_seconds.get(each.pid, 0.0)) for each in family
            }
            with contextlib.suppress(subprocess.TimeoutExpired, psutil.TimeoutExpired):
                process.wait(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        out.seek(0)
        err.seek(0)
        if process.returncode not in (0, 3):
            words = err.read().decode("utf-8", "replace").strip()
            raise WoodshedError(f"prep ended with {process.returncode}: {words[-500:]}")
        return seconds, sum(core_seconds.values()), peak, json.loads(out.read())


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory_of(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.rss))
    return 0


def _core_seconds_of(process: psutil.Process, before: float) -> float:
    with contextlib.suppress(psutil.Error):
        used = process.cpu_times()
        return used.user + used.system
    return before


def table(measured: list[Prepared]) -> Table:
    shown = Table(
        "Hours", "Recordings", "Slices", "Minutes", "Seconds an hour", "Core-seconds a second", "Peak memory", "Again",
        title="woodshed prep",
    )  # fmt: skip
    for each in measured:
        verdict = "[green]" if each.seconds_per_hour <= TARGET_SECONDS_PER_HOUR else "[red]"
        shown.add_row(
            f"{each.hours:g}",
            str(each.recordings),
            str(each.slices),
            f"{each.seconds / 60:.1f}",
            f"{verdict}{each.seconds_per_hour:.0f}[/]",
            f"{each.core_seconds / each.hours / 3600:.4f}",
            f"{each.peak_bytes / 1e9:.2f} GB",
            f"{each.again_seconds:.0f} s",
        )
    return shown
