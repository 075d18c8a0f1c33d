"""Hits out of the files of the kits: which files are read, what each sounds like, and the words that say so."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import soundfile
import soxr

from data_prep.heard.kit_training.kits import Kit
from data_prep.heard.kit_training.sampled import Sampled, gus_patch, soundfont_drums
from data_prep.sound.recording import SAMPLE_RATE

KIT_PIECES = {
    "kick": "kick", "snare": "snare", "side stick": None, "closed hat": "hat", "open hat": "hat", "tom": "tom",
    "crash": "cymbal", "ride": "cymbal", "hand drum": "hand percussion", "metal": "hand percussion",
    "wood": "hand percussion", "shaken": "hand percussion", "clap": "hand percussion",
}  # fmt: skip
"""What is told apart -> the piece that is claimed; a side stick sounds like a woodblock, and nothing is claimed."""
SOUNDS = tuple(KIT_PIECES)

WORDS = (
    (r"empty|roll|whistle|glass|fx|snare ?off|quica|noise|guiro|timbale|vibra|taiko|click(?!.*rim)", None),
    (r"side ?stick|stick rim|rim ?click|rim tap|^stick|stick woody|nasty rim|^rim\d", "side stick"),
    (r"hand ?clap|clap|snap", "clap"),
    (r"cow ?bell|agogo|triangle|bell mute|bell hit|dununba. bell|perc bell\d?|elec bell|mc cb", "metal"),
    (r"tambourine|shaker|maraca|cabasa|shake", "shaken"),
    (r"clav|wood|castanet", "wood"),
    (r"tabla|bongo|conga|cajon|djembe|head (hit|mute)", "hand drum"),
    (r"pedal|foot|closed|chh|hat.*(cl|pd)|hh closed|hat choke", "closed hat"),
    (r"hat.*(open|op|swish|ring)|ohh|opened|openhat|semi|half", "open hat"),
    (r"cymbal (closed|pedal)", "closed hat"),
    (r"cymbal open", "open hat"),
    (r"splash|crash|china|cymbal|cra ", "crash"),
    (r"ride|paiste", "ride"),
    (r"snare|^sn |^sd ", "snare"),
    (r"kick|bass ?drum|^bd|pearlkick", "kick"),
    (r"tom", "tom"),
)
GENERAL_MIDI = (
    ((35, 36), "kick"), ((37,), "side stick"), ((38, 40), "snare"), ((26, 39), "clap"),
    ((41, 43, 45, 47, 48, 50), "tom"), ((42, 44), "closed hat"), ((46,), "open hat"), ((49, 52, 55, 57), "crash"),
    ((51, 53, 59), "ride"), ((54, 69, 70, 82, 83), "shaken"), ((56, 67, 68, 80, 81), "metal"),
    ((60, 61, 62, 63, 64), "hand drum"), ((75, 76, 77, 85), "wood"),
)  # fmt: skip


LOWEST_RATE = 22_050


@dataclass(frozen=True)
class Hit:
    """A single hit, (2, samples) float32 at 44.1 kHz, what it is, and which file it comes from."""

    kit: str
    name: str
    sound: str
    samples: np.ndarray
    sha256: str


def hits_of(kit: Kit, root: Path) -> Iterator[Hit]:
    """The hits of a kit in order of file name; none where its package is not unpacked below `root`."""
    for path in _chosen(sorted((root / kit.folder).glob(kit.files)), root / kit.folder, kit):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        for found in _read(path, root / kit.folder, kit):
            sound = _sound_of(found, kit)
            if sound and found.sample_rate >= LOWEST_RATE:
                yield Hit(kit.name, found.name, sound, _stereo(found), digest)


def _chosen(paths: list[Path], folder: Path, kit: Kit) -> list[Path]:
    """The files of a kit that are taken: all banks, and of each sound the most that it may have."""
    of_sound: dict[str, list[Path]] = {}
    for path in paths:
        sound = "bank" if path.suffix in (".sf2", ".pat") else _sound_of(_unread(path, folder), kit)
        of_sound.setdefault(sound or "", []).append(path)
    of_sound.pop("", None)
    return sorted(
        found[number * len(found) // min(kit.most, len(found))]
        for found in of_sound.values()
        for number in range(min(kit.most, len(found)))
    )


def _unread(path: Path, folder: Path) -> Sampled:
    name = path.relative_to(folder).with_suffix("").as_posix()
    return Sampled(name, frozenset(), np.zeros((1, 0), np.float32), SAMPLE_RATE)


def _read(path: Path, folder: Path, kit: Kit) -> list[Sampled]:
    if path.suffix == ".sf2":
        return soundfont_drums(path)
    if path.suffix == ".pat":
        return [gus_patch(path)]
    samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    return [replace(_unread(path, folder), samples=samples.T, sample_rate=sample_rate)]


def _sound_of(found: Sampled, kit: Kit) -> str | None:
    """What a file or a sample is: as the kit says, as the drum map says where its keys agree, or as it is called."""
    for pattern, sound in kit.named:
        if fnmatchcase(found.name, pattern):
            return sound
    if found.keys:
        sounds = {sound for numbers, sound in GENERAL_MIDI if found.keys & set(numbers)}
        return sounds.pop() if len(sounds) == 1 else None
    return sound_of_name(found.name)


def sound_of_name(name: str) -> str | None:
    """What a file is by the words of its name."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z0-9])|_|-", " ", name).lower()
    return next((sound for words, sound in WORDS if re.search(words, spaced)), None)


def _stereo(found: Sampled) -> np.ndarray:
    samples = soxr.resample(found.samples.T, found.sample_rate, SAMPLE_RATE).T
    return np.ascontiguousarray(np.broadcast_to(samples[:2], (2, samples.shape[1])), np.float32)
