"""The chunks of WAV, RF64, W64 and AIFF files: where each lies, without reading what is in it.

Every chunk stands for itself: one that is broken costs no other. At most MOST_CHUNKS are looked at, and no more than
MOST_BYTES of any is read, so that a file of any size and any content is done with at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

MOST_CHUNKS = 4096
MOST_BYTES = 1 << 20
UNKNOWN_LENGTH = 0xFFFFFFFF
"""What programs write that stream and do not know the length; RF64 keeps the true one in its chunk ds64."""
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
"""A chunk of W64 is named by 16 bytes: the four letters of WAV in lower case, then these twelve."""


@dataclass(frozen=True)
class Chunk:
    """`name` of four letters, `start` of its content in the file, and the `length` that its header promises."""

    name: bytes
    start: int
    length: int


@dataclass(frozen=True)
class Chunks:
    """Of a file whose `form` is WAVE, AIFF or AIFC; numbers in it are in byte `order`."""

    path: Path
    form: str
    order: Literal["little", "big"]
    chunks: tuple[Chunk, ...]
    file_bytes: int

    def find(self, name: bytes) -> Chunk | None:
        return next((chunk for chunk in self.chunks if chunk.name == name), None)

    def read(self, name: bytes) -> bytes:
        """What is there of the first chunk of that name; nothing where there is none."""
        chunk = self.find(name)
        return read_part(self.path, chunk) if chunk else b""


def read_part(path: Path, chunk: Chunk) -> bytes:
    with path.open("rb") as file:
        file.seek(chunk.start)
        return file.read(min(chunk.length, MOST_BYTES))


def find_chunks(path: Path) -> Chunks | None:
    """The chunks of a file; None where it is of another kind. OSError where it cannot be read."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(40)
        if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
            return Chunks(path, head[8:12].decode(), "big", tuple(_walk(file, size, "big")), size)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
            order: Literal["little", "big"] = "big" if head[:4] == b"RIFX" else "little"
            return Chunks(path, "WAVE", order, tuple(_walk(file, size, order)), size)
        if head[:4] == b"riff" and head[24:28] == b"wave":
            return Chunks(path, "WAVE", "little", tuple(_walk_w64(file, size)), size)
    return None


def sub_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """(name, content) of the parts of a LIST chunk of a WAV, its kind (4 bytes) taken off."""
    parts, position = [], 0
    while position + 8 <= len(content):
        length = int.from_bytes(content[position + 4 : position + 8], "little")
        parts.append((content[position : position + 4], content[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    return parts


def _walk(file: BinaryIO, size: int, order: Literal["little", "big"]) -> Iterator[Chunk]:
    position, sound_bytes = 12, 0
    for _ in range(MOST_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        name, length = header[:4], int.from_bytes(header[4:], order)
        if name == b"ds64":
            sound_bytes = int.from_bytes(file.read(16)[8:], "little")
        if name == b"data" and length == UNKNOWN_LENGTH and sound_bytes:
            length = sound_bytes
        yield Chunk(name, position + 8, length)
        position += 8 + length + length % 2
        if position >= size:
            return


def _walk_w64(file: BinaryIO, size: int) -> Iterator[Chunk]:
    position = 40
    for _ in range(MOST_CHUNKS):
        file.seek(position)
        header = file.read(24)
        length = int.from_bytes(header[16:], "little") - 24
        if len(header) < 24 or length < 0:
            return
        name = header[:4] if header[4:16] == _W64_TAIL else b"????"
        yield Chunk(name, position + 24, length)
        position += -(-(24 + length) // 8) * 8
        if position >= size:
            return
