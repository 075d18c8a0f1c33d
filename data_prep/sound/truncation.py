"""Whether the sound that the header of a file promises is there; libsndfile reads to the end and says nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from data_prep.sound.chunks import UNKNOWN_LENGTH, find_chunks

PAGE_BYTES = 1 << 16
"""No page of Ogg is longer."""
_END_OF_STREAM = 4


def share_present(path: Path, container: str) -> float:
    """1.0 where all of it is there, or where nothing is promised.

    A length of 0 or 2^32 - 1 is what programs write that stream and do not know it: it promises nothing.
    """
    promised, present = _sound_bytes(path, container)
    return 1.0 if promised in (0, UNKNOWN_LENGTH) or promised <= present else present / promised


def ends_without_end(path: Path) -> bool:
    """Whether an Ogg file stops without the mark of its end: cut off, or recorded from a stream."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - PAGE_BYTES - 27))
        tail = file.read()
    place = tail.rfind(b"OggS")
    page = tail[place:] if place >= 0 else b""
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    whole = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return len(page) < whole or not page[5] & _END_OF_STREAM


def _sound_bytes(path: Path, container: str) -> tuple[int, int]:
    """(bytes of sound promised, bytes from its start to the end of the file); (0, 0) where nothing is said."""
    if container == "AU":
        return _au_bytes(path)
    if container == "CAF":
        return _caf_bytes(path)
    chunks = find_chunks(path)
    chunk = chunks.find(b"data" if chunks.form == "WAVE" else b"SSND") if chunks else None
    return (chunk.length, chunks.file_bytes - chunk.start) if chunks and chunk else (0, 0)


def _au_bytes(path: Path) -> tuple[int, int]:
    with path.open("rb") as file:
        header = file.read(12)
    order: Literal["little", "big"] = "little" if header[:4] == b"dns." else "big"
    return int.from_bytes(header[8:12], order), path.stat().st_size - int.from_bytes(header[4:8], order)


def _caf_bytes(path: Path) -> tuple[int, int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        position = 8
        while position + 12 <= size:
            file.seek(position)
            name, length = file.read(4), int.from_bytes(file.read(8), "big", signed=True)
            if name == b"data" or length < 0:
                return max(length, 0), size - position - 12
            position += 12 + length
    return 0, 0
