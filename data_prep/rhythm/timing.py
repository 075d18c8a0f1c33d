"""`timing.yaml` beside recordings: tempo, metre and first downbeat of single takes, as their player knows them.

    bpm: 150-185
    files:
      take_3.wav: {bpm: 168, downbeat: 0.412, metre: 7/8, click: true}

What it says holds for its folder and the folders in it; `files:` says more of single files by patterns; a deeper
timing.yaml goes before, and all of them go before the command.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_prep.files import PrepError
from data_prep.settings import Settings, parse_bpm
from data_prep.sidecars import fitting, read_yaml, sidecars

TIMING_FILE = "timing.yaml"
KEYS = ("bpm", "metre", "downbeat", "click")

Says = dict[str, Any]


def read_timing(root: Path, names: Iterable[str]) -> dict[str, list[Says]]:
    """Name (POSIX path below `root`) -> what is said of it, the weakest first; empty where nothing is.

    PrepError for a timing.yaml that cannot be read, has unknown words, or names a file that is not there.
    """
    names = list(names)
    said: dict[str, list[Says]] = {name: [] for name in names}
    for folder, path, within in sidecars(root, names, TIMING_FILE):
        content = _read(path)
        files = content.pop("files", None) or {}
        for name in within:
            said[name].append(_checked(content, str(path)))
        for pattern, says in files.items():
            for name in _meant(str(pattern), folder, within, path):
                said[name].append(_checked(says, f"{path}, {pattern}"))
    return said


def _meant(pattern: str, folder: str, within: list[str], path: Path) -> list[str]:
    try:
        return fitting(pattern, folder, within, path)
    except ValueError as error:
        raise PrepError(str(error)) from error


def with_timing(settings: Settings, said: list[Says]) -> Settings:
    """The settings for one recording. PrepError for what cannot be."""
    for says in said:
        try:
            if "bpm" in says:
                bpm, bounds = parse_bpm(str(says["bpm"]))
                settings = dataclasses.replace(settings, bpm=bpm, bpm_range=bounds)
            if "metre" in says:
                settings = dataclasses.replace(settings, metre=str(says["metre"]))
            if "downbeat" in says:
                settings = dataclasses.replace(settings, downbeat=float(says["downbeat"]))
            if "click" in says:
                settings = dataclasses.replace(settings, click=says["click"])
        except (TypeError, ValueError) as error:
            raise PrepError(f"{TIMING_FILE}: {str(error).replace('--', '')}") from error
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_yaml(path)
    except ValueError as error:
        raise PrepError(str(error)) from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not isinstance(content.get("files") or {}, dict):
        raise PrepError(
            f"{path}: write `bpm: 92`, or `files:` with lines like `take.wav: {{bpm: 92}}` below it."
        )
    return content


def _checked(says: Any, where: str) -> Says:
    """What is said, with known words only, each of its type."""
    if not isinstance(says, dict):
        raise PrepError(f"{where}: write it like {{bpm: 92, metre: 4/4, downbeat: 0.8}}.")
    for key, value in says.items():
        if key not in KEYS:
            raise PrepError(f"{where}: {key!r} is not known; what can be said is {', '.join(KEYS)}.")
        wrong = not isinstance(value, bool) if key == "click" else isinstance(value, bool)
        if wrong or isinstance(value, list | dict) or value is None:
            raise PrepError(f"{where}: {key} cannot be {value!r}.")
    return says
