"""Captioners of others, found by their entry point in the group `woodshed.captioners`.

A captioner is a callable `caption(path, samples, sample_rate, fields)`: the path of the slice's WAV, its sound as
float32 (2, samples), 44100, and the facts as plain values. It returns `(text, confidence)`: the sentence of the
caption, without tags, tempo or trigger, and how sure it is of it, 0 to 1. What it says stays unreviewed, with its
name as source. Where it fails, or is less than half sure, the measured caption stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.dataset import SAMPLE_RATE, read_audio
from data_prep.dataset_folder import HIDDEN, DatasetFolder, Row
from data_prep.files import PrepError, write_json
from data_prep.manifest_rows import captions_of
from data_prep.settings import Settings

GROUP = "woodshed.captioners"
SURE_FROM = 0.5
LONGEST = 1000

Captioner = Callable[[Path, np.ndarray, int, Mapping[str, Any]], tuple[str, float]]
Fact = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """A captioner by its name, and the version of the package it is from, which tells what it said before."""

    name: str
    version: str
    caption: Captioner


def find_captioner(name: str) -> Found:
    """PrepError, naming those that are installed, where there is none of this name or it cannot be loaded."""
    installed = {each.name: each for each in entry_points(group=GROUP)}
    if name not in installed:
        known = f"installed are {', '.join(sorted(installed))}" if installed else "none is installed"
        raise PrepError(f"There is no captioner {name!r}: {known} (entry points of the group {GROUP}).")
    try:
        caption = installed[name].load()
    except Exception as error:
        raise PrepError(f"The captioner {name} cannot be loaded: {_named(error)}.") from error
    if not callable(caption):
        raise PrepError(
            f"The captioner {name} is no function; its entry point names {installed[name].value}."
        )
    return Found(name, _version(installed[name]), caption)


def ask(found: Found, path: Path, fields: Mapping[str, Any]) -> tuple[Fact | None, str | None]:
    """What the captioner says of a slice, as a fact; or None, and in a sentence why where it failed."""
    try:
        answer = found.caption(path, read_audio(path), SAMPLE_RATE, dict(fields))
        text, confidence = _checked(answer)
    except Exception as error:
        return (
            None,
            f"The captioner {found.name} failed on {path.stem}, which keeps its measured caption: {_named(error)}.",
        )
    if confidence < SURE_FROM:
        return None, None
    return {"value": text, "source": f"captioner {found.name}", "confidence": round(confidence, 2)}, None


def caption_by_plug_in(folder: DatasetFolder, rows: list[Row], settings: Settings) -> list[str]:
    """Let the captioner of the settings write the sentence of rows that nobody reviewed; its failures as sentences.

    What it said of the same sound, with the same version, is kept and not asked for again.
    """
    found = find_captioner(str(settings.captioner))
    memory = folder.root / HIDDEN / "captioner.json"
    said = folder.read_state(memory) or {}
    if said.get("captioner") != [found.name, found.version]:
        said = {"captioner": [found.name, found.version], "said": {}}
    failures = []
    for row in rows:
        fact = said["said"].get(row["clip_sha256"])
        path = folder.find_clip(row["id"])
        if not fact and path:
            plain = {key: each["value"] for key, each in row["fields"].items()}
            fact, failure = ask(found, path, plain)
            failures += [failure] if failure else []
        if fact:
            said["said"][row["clip_sha256"]] = fact
            row["fields"] = row["fields"] | {"caption": fact}
            captions = captions_of(row["fields"], settings.trigger)
            row |= {"text": captions[0], "captions": list(captions)}
    write_json(memory, said)
    return failures


def _checked(answer: Any) -> tuple[str, float]:
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise TypeError(f"it returned {type(answer).__name__}, not (text, confidence)")
    text, confidence = answer
    if not isinstance(text, str) or isinstance(confidence, bool) or not isinstance(confidence, int | float):
        raise TypeError("it returned something else than a text and a number")
    if not 0 <= confidence <= 1:
        raise ValueError(f"its confidence is {confidence}, not between 0 and 1")
    text = "".join(char if char.isprintable() else " " for char in text)
    text = " ".join(text.split()).rstrip(".")
    if not text or len(text) > LONGEST:
        raise ValueError(f"its text has {len(text)} characters, not 1 to {LONGEST}")
    return text, float(confidence)


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _version(entry: EntryPoint) -> str:
    return entry.dist.version if entry.dist else "unknown"
