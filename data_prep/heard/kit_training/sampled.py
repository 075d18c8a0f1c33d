"""Single hits out of files that hold many or none plainly: drum banks of SoundFont 2, and GUS patches."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

DRUM_BANK = 128
INSTRUMENT, KEY_RANGE, SAMPLE = 41, 43, 53
"""Generators of SoundFont 2.01: what a preset plays, over which keys, and from which sample."""
RIGHT = 2
ORCHESTRA, EFFECTS = 48, 56
"""Drum presets whose keys are not those of General MIDI."""


@dataclass(frozen=True)
class Sampled:
    """`samples` (1, samples) float32 at `sample_rate`; `keys` are the MIDI keys of the drum map that play it."""

    name: str
    keys: frozenset[int]
    samples: np.ndarray
    sample_rate: int


def soundfont_drums(path: Path) -> list[Sampled]:
    """Every sample that a General MIDI drum preset plays, once, the left of a stereo pair."""
    chunks = _riff(path.read_bytes())
    generators = {
        level: [struct.unpack("<Hh", entry) for entry in _entries(chunks[name], 4)]
        for level, name in ((0, b"pgen"), (1, b"igen"))
    }
    presets = [struct.unpack("<20sHHH12x", entry) for entry in _entries(chunks[b"phdr"], 38)]
    instruments = [struct.unpack("<20sH", entry)[1] for entry in _entries(chunks[b"inst"], 22)]
    keys: dict[int, set[int]] = {}
    for (_, number, bank, first), (_, _, _, last) in pairwise(presets):
        if bank != DRUM_BANK or number in (ORCHESTRA, EFFECTS):
            continue
        for instrument, outer in _zones(chunks[b"pbag"], generators[0], first, last, INSTRUMENT):
            bags = instruments[instrument], instruments[instrument + 1]
            for sample, inner in _zones(chunks[b"ibag"], generators[1], *bags, SAMPLE):
                keys.setdefault(sample, set()).update(set(outer) & set(inner))
    return list(_samples(chunks, keys))


def gus_patch(path: Path) -> Sampled:
    """The first sample of a GUS patch (.pat), whose file name begins with its key."""
    content = path.read_bytes()
    header = 129 + 63 + 47
    size, rate, mode = (
        int.from_bytes(content[header + 8 : header + 12], "little"),
        int.from_bytes(content[header + 20 : header + 22], "little"),
        content[header + 55],
    )
    raw = content[header + 96 : header + 96 + size]
    wide, unsigned = mode & 1, mode & 2
    samples = (
        np.frombuffer(raw[: len(raw) // 2 * 2], "<u2" if unsigned else "<i2")
        if wide
        else (np.frombuffer(raw, np.uint8 if unsigned else np.int8))
    )
    half = 32_768.0 if wide else 128.0
    scaled = (samples.astype(np.float32) - (half if unsigned else 0.0)) / half
    return Sampled(path.stem, frozenset({int(path.stem[:3])}), scaled[None], rate)


def _riff(content: bytes) -> dict[bytes, bytes]:
    """The chunks inside the lists of a RIFF file, by name."""
    found: dict[bytes, bytes] = {}
    for name, start, end in _chunks(content, 12, len(content)):
        if name == b"LIST":
            found |= {inner: content[a:b] for inner, a, b in _chunks(content, start + 4, end)}
    return found


def _chunks(content: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= end:
        size = int.from_bytes(content[start + 4 : start + 8], "little")
        yield content[start : start + 4], start + 8, start + 8 + size
        start += 8 + size + size % 2


def _entries(table: bytes, size: int) -> list[bytes]:
    return [table[at : at + size] for at in range(0, len(table), size)]


def _zones(
    bags: bytes, generators: list[tuple[int, int]], first: int, last: int, wanted: int
) -> Iterator[tuple[int, range]]:
    """For each zone of a preset or an instrument: what it plays, and over which keys."""
    starts = [struct.unpack("<HH", entry)[0] for entry in _entries(bags, 4)]
    for bag in range(first, last):
        inside = dict(generators[starts[bag] : starts[bag + 1]])
        if wanted in inside:
            low_high = inside.get(KEY_RANGE, 127 << 8) & 0xFFFF
            yield inside[wanted] & 0xFFFF, range(low_high & 0xFF, (low_high >> 8) + 1)


def _samples(chunks: dict[bytes, bytes], keys: dict[int, set[int]]) -> Iterator[Sampled]:
    pool = np.frombuffer(chunks[b"smpl"], "<i2")
    for number, entry in enumerate(_entries(chunks[b"shdr"], 46)):
        name, start, end, _, _, rate, _, _, _, kind = struct.unpack("<20sIIIIIBbHH", entry)
        if not keys.get(number) or kind & 0x7FFF == RIGHT:
            continue
        samples = pool[start:end].astype(np.float32) / 32_768
        text = name.split(b"\0")[0].decode("ascii", "replace").strip()
        yield Sampled(text, frozenset(keys[number]), samples[None], rate)
