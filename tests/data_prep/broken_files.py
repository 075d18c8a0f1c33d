"""Files that are broken in every way that files are: `write_all(folder)` makes them, the same every time.

Each function is one way; it gives (name, content). What is not content (links, pipes, folders, permissions) comes
last.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import drummer
import numpy as np
import soundfile

Broken = tuple[str, bytes]
RATE = 44_100
SOUND = drummer.play(120, bars=1, seed=1, lead_in=0.05).samples[:, : RATE // 2]
FORMATS = {
    "wav": ("WAV", "PCM_16"), "float.wav": ("WAV", "FLOAT"), "wavex.wav": ("WAVEX", "PCM_24"),
    "rf64": ("RF64", "PCM_16"),
    "w64": ("W64", "PCM_16"), "aiff": ("AIFF", "PCM_16"), "aifc": ("AIFF", "FLOAT"), "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"), "mp3": ("MP3", "MPEG_LAYER_III"), "caf": ("CAF", "PCM_16"),
    "au": ("AU", "PCM_16"), "adpcm.wav": ("WAV", "MS_ADPCM"),
}  # fmt: skip
WAV_FIELDS = {
    "riff": (0, 4), "riff_size": (4, 4), "wave": (8, 4), "fmt": (12, 4), "fmt_size": (16, 4), "tag": (20, 2),
    "channels": (22, 2), "rate": (24, 4), "byte_rate": (28, 4), "block_align": (32, 2), "bits": (34, 2),
    "data": (36, 4), "data_size": (40, 4),
}  # fmt: skip
AIFF_FIELDS = {
    "form": (0, 4), "form_size": (4, 4), "aiff": (8, 4), "comm": (12, 4), "comm_size": (16, 4), "channels": (20, 2),
    "frames": (22, 4), "bits": (26, 2), "exponent": (28, 2), "mantissa": (30, 8),
}  # fmt: skip


def encode(kind: str, sound: np.ndarray = SOUND, rate: int = RATE) -> bytes:
    """A good file of one of FORMATS."""
    container, subtype = FORMATS[kind]
    memory = io.BytesIO()
    if kind == "opus":
        rate = 48_000
    soundfile.write(memory, sound.T, rate, format=container, subtype=subtype)
    return memory.getvalue()


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    pad = b"\0" * (len(content) % 2)
    return name + struct.pack("<I", len(content) if size is None else size) + content + pad


def with_chunk(extra: bytes, before_sound: bool = False) -> bytes:
    wav = encode("wav")
    body = wav[12:36] + extra + wav[36:] if before_sound else wav[12:] + extra
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def cut_off() -> Iterator[Broken]:
    """At every field of the headers of WAV and AIFF, at many places of the others, and in the middle."""
    for name, (start, size) in WAV_FIELDS.items():
        yield f"cut at {name}.wav", encode("wav")[: start + size // 2]
    for name, (start, size) in AIFF_FIELDS.items():
        yield f"cut at {name}.aiff", encode("aiff")[: start + size // 2]
    for kind in FORMATS:
        content = encode(kind)
        for place in (1, 3, 27, 60, len(content) // 2, len(content) - 100):
            yield f"cut at {place}.{kind}", content[:place]


def wrong_fields() -> Iterator[Broken]:
    for kind, fields in (("wav", WAV_FIELDS), ("aiff", AIFF_FIELDS)):
        good = encode(kind)
        for name, (start, size) in fields.items():
            for what, value in (("zero", b"\0" * size), ("all", b"\xff" * size), ("odd", b"\x07" * size)):
                yield f"{name} is {what}.{kind}", good[:start] + value + good[start + size :]


def wrong_bytes() -> Iterator[Broken]:
    rng = np.random.default_rng(4)
    for kind in FORMATS:
        good = encode(kind)
        for number in range(2):
            content = bytearray(good)
            for place in rng.integers(0, min(len(good), 200 if number else len(good)), 12):
                content[place] = int(rng.integers(256))
            yield f"scratched {number}.{kind}", bytes(content)


def wrong_samples() -> Iterator[Broken]:
    values = {"nan": np.nan, "inf": np.inf, "minus inf": -np.inf, "huge": 1e30, "loud": 2e3, "tiny": 1e-42}
    for name, value in values.items():
        sound = SOUND.copy()
        sound[0, 5000:5010] = value
        yield f"{name}.wav", encode("float.wav", sound)
    yield "all nan.wav", encode("float.wav", np.full_like(SOUND, np.nan))
    yield "silent.wav", encode("wav", 0 * SOUND)
    yield "constant.wav", encode("float.wav", 0 * SOUND + 0.5)
    yield "one sample.wav", encode("wav", SOUND[:, :1])
    yield "no sample.wav", encode("wav", SOUND[:, :0])
    yield "no sample.flac", encode("flac", SOUND[:, :0])
    for rate in (1, 7999, 22_049, 44_099, 191_999, 768_001, 2**31 - 1):
        yield f"rate {rate}.wav", encode("wav", rate=rate)
    for channels in (3, 17, 255):
        yield f"{channels} channels.wav", encode("wav", np.repeat(SOUND[:1], channels, axis=0))


def no_sound() -> Iterator[Broken]:
    noise = np.random.default_rng(5).integers(0, 256, 3000, np.uint8).tobytes()
    for kind in ("wav", "aiff", "flac", "ogg", "mp3", "caf", "mat", "iff", "m4a", "mkv"):
        yield f"noise.{kind}", noise
        yield f"empty.{kind}", b""
    yield "letter.wav", b"Dear drummer, " * 50
    yield "page.mp3", b"<!doctype html><html><body>404</body></html>"
    yield "zeros.wav", bytes(5000)
    yield "zip.wav", b"PK\x03\x04" + noise
    yield "list.m4a", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"


def wrong_tags() -> Iterator[Broken]:
    nested = b""
    for _ in range(500):
        nested = chunk(b"LIST", b"INFO" + nested)
    laughs = b'<!DOCTYPE l [<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)
    )
    chunks = {
        "cue without end": chunk(b"cue ", struct.pack("<I", 2**32 - 1) + bytes(24)),
        "short cue": chunk(b"cue ", b"\1"),
        "label without cue": chunk(b"LIST", b"adtl" + chunk(b"labl", b"\1\0")),
        "smpl of many loops": chunk(b"smpl", bytes(28) + struct.pack("<I", 2**31) + bytes(28)),
        "short smpl": chunk(b"smpl", b"1234"),
        "acid nan": chunk(b"acid", struct.pack("<IHHfIHHf", 0, 0, 0, 0, 0, 0, 0, float("nan"))),
        "short acid": chunk(b"acid", b"12345"),
        "bext in Latin": chunk(b"bext", b"caf\xe9" * 200),
        "short bext": chunk(b"bext", b"x"),
        "broken iXML": chunk(b"iXML", b"<BWFXML><NOTE>open"),
        "laughing iXML": chunk(b"iXML", laughs + b"]><BWFXML><NOTE>&j;</NOTE></BWFXML>"),
        "iXML of no charset": chunk(b"iXML", b'<?xml version="1.0" encoding="klingon"?><BWFXML/>'),
        "info of wrong size": chunk(b"LIST", b"INFO" + chunk(b"INAM", b"x", 2**31)),
        "nested lists": nested,
        "id3 of wrong size": chunk(b"id3 ", b"ID3\3\0\0\x7f\x7f\x7f\x7f" + b"TIT2" + bytes(20)),
        "chunk of wrong size": chunk(b"junk", b"abc", 2**32 - 10),
        "nameless chunks": b"\0" * 4000,
    }
    for name, extra in chunks.items():
        yield f"{name}.wav", with_chunk(extra)
    yield "wrong size before the sound.wav", with_chunk(chunk(b"junk", b"abc", 2**31), before_sound=True)
    yield (
        "sound before format.wav",
        b"RIFF\xff\xff\xff\x7fWAVE" + chunk(b"data", bytes(400)) + encode("wav")[12:36],
    )
    yield "no format.wav", b"RIFF\xff\xff\xff\x7fWAVE" + chunk(b"data", bytes(400))
    yield "id3 before flac.flac", b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + encode("flac")
    mark = struct.pack(">H", 65_535) + b"\0\1\xff\xff\xff\xff\xffnot as long"
    aiff = encode("aiff") + b"MARK" + struct.pack(">I", len(mark)) + mark
    yield "marks without end.aiff", aiff


def strange_names() -> Iterator[Broken]:
    for number, name in enumerate(
        ("Grüße.wav", "Gru\u0308ße.wav", "🥁🥁.wav", "טאבלה.wav", "two\nlines.wav", "tab\t.wav", "quote\"'`$(x).wav",
         "[bold]x.wav", " .wav", "x" * 240 + ".wav", "%s%n.wav", "CON.wav", "-rf.wav", "a.WAV",
         "\u202egnp.wav", "zero\u200bwidth.wav")
    ):  # fmt: skip
        yield name, encode("wav", SOUND * (1 - 0.01 * number))


WAYS = (cut_off, wrong_fields, wrong_bytes, wrong_samples, no_sound, wrong_tags, strange_names)


def write_all(folder: Path) -> dict[str, str]:
    """Name -> the way in which it is broken."""
    made = {}
    for way in WAYS:
        for name, content in way():
            assert name not in made, name
            (folder / name).write_bytes(content)
            made[name] = way.__name__
    for name, make in THINGS.items():
        make(folder / name)
        made[name] = "things"
    return made


def _no_unicode(path: Path) -> None:
    Path(os.fsdecode(os.fsencode(path.parent) + b"/broken-\xff.wav")).write_bytes(encode("wav", SOUND * 0.7))


THINGS = {
    "dangling.wav": lambda path: path.symlink_to("nowhere.wav"),
    "itself.wav": lambda path: path.symlink_to("itself.wav"),
    "above": lambda path: path.symlink_to(path.parent, target_is_directory=True),
    "zero device.wav": lambda path: path.symlink_to("/dev/zero"),
    "folder.wav": lambda path: path.mkdir(),
    "pipe.wav": lambda path: os.mkfifo(path),
    os.fsdecode(b"broken-\xff.wav"): _no_unicode,
}
