"""What a file says about itself inside: ID3, Vorbis, MP4 and INFO tags, bext, iXML, ACID, cue markers, loops.

tinytag reads the tags. The chunks of WAV and AIFF are read here, each for itself, so that one that is broken costs no
other: ACID (24 bytes), cue and labl, smpl, bext (EBU Tech 3285), iXML; MARK and INST of AIFF (Apple, 1989).
"""

from __future__ import annotations

import contextlib
import math
import re
import struct
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from data_prep.sound.chunks import Chunks, find_chunks, read_part, sub_chunks
from data_prep.sound.recording import SAMPLE_RATE

MOST_CUES = 10_000
LONGEST_TEXT = 1000
_TINYTAG = {
    "title": "title", "artist": "artist", "albumartist": "album_artist", "album": "album", "composer": "composer",
    "genre": "genre", "comment": "comment", "year": "date",
}  # fmt: skip
_TINYTAG_OTHER = {
    "bpm": "bpm", "publisher": "label", "label": "label", "organization": "label", "isrc": "isrc",
    "barcode": "barcode", "catalog_number": "catalogue_number", "catalognumber": "catalogue_number",
    "copyright": "copyright", "license": "licence", "initial_key": "key", "encoded_by": "encoded_by",
}  # fmt: skip
_WAV_TAGS = frozenset({b"fmt ", b"LIST", b"list", b"id3 ", b"ID3 "})
_AIFF_TAGS = frozenset({b"COMM", b"NAME", b"AUTH", b"ANNO", b"(c) ", b"COMT", b"ID3 ", b"id3 "})
_BEXT = {
    "description": (0, 256),
    "originator": (256, 288),
    "originator_reference": (288, 320),
    "date": (320, 330),
}
_IXML = {"PROJECT": "project", "SCENE": "scene", "TAKE": "take", "NOTE": "note"}


@dataclass(frozen=True)
class Cue:
    """A marker that someone set: its sample at 44.1 kHz, and its name, which may be empty."""

    sample: int
    label: str = ""


@dataclass(frozen=True)
class Embedded:
    """`texts`: title, artist, album, label, isrc, genre, bpm, description, ..., those that are there, as they stand.

    `loop` is True for a loop, False for a one-shot, None where nothing is said; `beats` how many the loop has.
    """

    texts: dict[str, str] = field(default_factory=dict)
    bpm: float | None = None
    metre: str | None = None
    loop: bool | None = None
    beats: int | None = None
    cues: tuple[Cue, ...] = ()


def read_embedded(path: Path) -> Embedded:
    """Everything that can be read; what is broken is passed over. OSError where the file cannot be opened."""
    chunks = find_chunks(path)
    if chunks is None:
        return Embedded(_tags(path))
    texts = _tags(_only_tags(chunks))
    bpm, metre, loop, beats = acid(chunks.read(b"acid"))
    if loop is None and _has_loop(chunks):
        loop = True
    return Embedded(_bext(chunks) | _ixml(chunks) | texts, bpm, metre, loop, beats, _cues(chunks))


def acid(content: bytes) -> tuple[float | None, str | None, bool | None, int | None]:
    """Tempo, metre, whether it is a loop, and its beats, of an ACID chunk; a one-shot has none of the others."""
    if len(content) < 24:
        return None, None, None, None
    flags, _, _, _, beats, denominator, numerator, bpm = struct.unpack("<IHHfIHHf", content[:24])
    if flags & 1:
        return None, None, False, None
    metre = f"{numerator}/{denominator}" if numerator and denominator else None
    return bpm if math.isfinite(bpm) and bpm > 0 else None, metre, True, beats or None


def _only_tags(chunks: Chunks) -> BytesIO:
    """The file with nothing in it but its tags: tinytag goes through whatever else is there, eight bytes at a time."""
    names = _WAV_TAGS if chunks.form == "WAVE" else _AIFF_TAGS
    kept = [(chunk.name, read_part(chunks.path, chunk)) for chunk in chunks.chunks if chunk.name in names]
    body = b"".join(
        name + len(content).to_bytes(4, chunks.order) + content + b"\0" * (len(content) % 2)
        for name, content in kept
    )
    form = b"RIFF" if chunks.form == "WAVE" else b"FORM"
    return BytesIO(form + (4 + len(body)).to_bytes(4, chunks.order) + chunks.form.encode() + body)


def _tags(source: Path | BytesIO) -> dict[str, str]:
    from tinytag import TinyTag, TinyTagException

    try:
        if isinstance(source, Path):
            tag = TinyTag.get(source, duration=False)
        else:
            tag = TinyTag.get(file_obj=source, duration=False)
    except (TinyTagException, OSError, struct.error, ValueError, LookupError, TypeError, OverflowError):
        return {}
    texts = {name: _text(getattr(tag, key)) for key, name in _TINYTAG.items()}
    for key, name in _TINYTAG_OTHER.items():
        texts[name] = texts.get(name) or _text(next(iter(tag.other.get(key, [])), None))
    return {name: text for name, text in texts.items() if text}


def _text(value: Any) -> str:
    """Trimmed, in one line, without control characters, and not endless."""
    words = "".join(char if char.isprintable() else " " for char in str(value or "")[: 4 * LONGEST_TEXT])
    return re.sub(r" +", " ", words).strip()[:LONGEST_TEXT]


def _latin(content: bytes) -> str:
    """Text of a chunk: UTF-8 where it is that, else Latin-1, up to the first zero byte."""
    content = content.split(b"\0", 1)[0]
    try:
        return _text(content.decode("utf-8"))
    except UnicodeDecodeError:
        return _text(content.decode("latin-1"))


def _bext(chunks: Chunks) -> dict[str, str]:
    content = chunks.read(b"bext")
    texts = {name: _latin(content[first:last]) for name, (first, last) in _BEXT.items()}
    return {name: text for name, text in texts.items() if text}


def _ixml(chunks: Chunks) -> dict[str, str]:
    content = chunks.read(b"iXML").rstrip(b"\0 \r\n")
    if not content or b"<!DOCTYPE" in content or b"<!ENTITY" in content:  # iXML has neither
        return {}
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError):
        return {}
    texts = {name: _text(root.findtext(tag)) for tag, name in _IXML.items()}
    return {name: text for name, text in texts.items() if text}


def _has_loop(chunks: Chunks) -> bool:
    """Whether smpl has a loop of more than one sample, or INST one that is played."""
    if chunks.form == "WAVE":
        content = chunks.read(b"smpl")
        if len(content) < 60 or not int.from_bytes(content[28:32], chunks.order):
            return False
        start, end = (int.from_bytes(content[at : at + 4], chunks.order) for at in (44, 48))
        return end > start
    content = chunks.read(b"INST")
    return len(content) >= 20 and int.from_bytes(content[8:10], "big") in (1, 2)


def _cues(chunks: Chunks) -> tuple[Cue, ...]:
    """In order, each place once."""
    rate = _sample_rate(chunks)
    if not rate:
        return ()
    marks = _wav_marks(chunks) if chunks.form == "WAVE" else _aiff_marks(chunks.read(b"MARK"))
    cues = {round(place * SAMPLE_RATE / rate): label for place, label in reversed(marks)}
    return tuple(Cue(sample, cues[sample]) for sample in sorted(cues))


def _sample_rate(chunks: Chunks) -> float:
    if chunks.form == "WAVE":
        return float(int.from_bytes(chunks.read(b"fmt ")[4:8], chunks.order))
    content = chunks.read(b"COMM")[8:18]  # an 80-bit float
    if len(content) < 10:
        return 0.0
    exponent, mantissa = int.from_bytes(content[:2], "big") & 0x7FFF, int.from_bytes(content[2:], "big")
    with contextlib.suppress(OverflowError):
        return math.ldexp(mantissa, exponent - 16383 - 63)
    return 0.0


def _wav_marks(chunks: Chunks) -> list[tuple[int, str]]:
    """(frame, label) of `cue `; a range (ltxt) counts where it starts."""
    order = "<" if chunks.order == "little" else ">"
    content = chunks.read(b"cue ")
    count = min(int.from_bytes(content[:4], chunks.order), (len(content) - 4) // 24, MOST_CUES)
    labels = _labels(chunks)
    marks = []
    for index in range(count):
        number, position, _, _, _, offset = struct.unpack_from(f"{order}II4sIII", content, 4 + 24 * index)
        marks.append((offset or position, labels.get(number, "")))
    return marks


def _labels(chunks: Chunks) -> dict[int, str]:
    labels = {}
    for chunk in chunks.chunks:
        if chunk.name not in (b"LIST", b"list"):
            continue
        content = read_part(chunks.path, chunk)
        if content[:4] == b"adtl":
            for name, part in sub_chunks(content[4:]):
                if name == b"labl" and len(part) > 4:
                    labels[int.from_bytes(part[:4], "little")] = _latin(part[4:])
    return labels


def _aiff_marks(content: bytes) -> list[tuple[int, str]]:
    marks, position = [], 2
    for _ in range(min(int.from_bytes(content[:2], "big"), MOST_CUES)):
        if position + 7 > len(content):
            break
        length = content[position + 6]
        label = _latin(content[position + 7 : position + 7 + length])
        marks.append((int.from_bytes(content[position + 2 : position + 6], "big"), label))
        position += 7 + length + (length + 1) % 2
    return marks
