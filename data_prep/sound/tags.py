"""What a recording says about itself: embedded tags, then file and folder names. Nothing is guessed from sound."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from data_prep.rhythm.metre import named_metre, parse_metre
from data_prep.sound.embedded import Cue, Embedded, read_embedded

DRUM_KIT = "Drum Kit"
PERCUSSION = "Percussion"
KIT_WORDS = ("drum kit", "drumkit", "drumset", "drum set", "drums", "breakbeat", "drum break")
KIT_PIECES = {
    "kick": "kick", "bass drum": "kick", "bassdrum": "kick", "bd": "kick", "snare": "snare", "sd": "snare",
    "rimshot": "rimshot", "hihat": "hi-hat", "hi hat": "hi-hat", "hat": "hi-hat", "hats": "hi-hat", "hh": "hi-hat",
    "tom": "tom", "toms": "tom", "ride": "ride cymbal", "crash": "crash cymbal", "splash": "splash cymbal",
    "china": "china cymbal", "cymbal": "cymbal", "cymbals": "cymbal",
}  # fmt: skip
PERCUSSION_PIECES = {
    "tabla": "tabla", "conga": "conga", "congas": "conga", "bongo": "bongo", "bongos": "bongo", "cajon": "cajon",
    "djembe": "djembe", "darbuka": "darbuka", "doumbek": "darbuka", "udu": "udu", "pandeiro": "pandeiro",
    "frame drum": "frame drum", "bodhran": "bodhran", "hand drum": "hand drum", "shaker": "shaker",
    "maraca": "maracas", "maracas": "maracas", "tambourine": "tambourine", "cowbell": "cowbell", "clave": "claves",
    "claves": "claves", "woodblock": "woodblock", "wood block": "woodblock", "triangle": "triangle",
    "guiro": "guiro", "cabasa": "cabasa", "timbale": "timbales", "timbales": "timbales", "agogo": "agogo",
    "cuica": "cuica", "surdo": "surdo", "taiko": "taiko", "gong": "gong", "bell": "bell", "bells": "bell",
    "clap": "handclap", "claps": "handclap", "snap": "finger snap", "marimba": "marimba", "vibraphone": "vibraphone",
}  # fmt: skip
GENRES = {
    "breakbeat": "Breakbeat", "jungle": "Jungle", "drum and bass": "Drum and Bass", "dnb": "Drum and Bass",
    "funk": "Funk", "jazz": "Jazz", "samba": "Samba", "bossa": "Bossa Nova", "bossa nova": "Bossa Nova",
    "reggae": "Reggae", "afrobeat": "Afrobeat", "hip hop": "Hip Hop", "hiphop": "Hip Hop", "techno": "Techno",
}  # fmt: skip
_PLAUSIBLE_BPM = (40.0, 240.0)


@dataclass(frozen=True)
class Tags:
    """Statements found, each with the source `tag` or `name`; None or empty where nothing is said.

    `cues` are the markers in the file, in order, their samples at 44.1 kHz; `tag_loop` is True where the file says
    that it is a loop (ACID, smpl, INST), False where it says one-shot; `tag_beats` how many beats the loop has.
    `embedded` are the file's own texts: title, artist, album, label, isrc, description, project, ...
    """

    tag_bpm: float | None = None
    tag_metre: str | None = None
    tag_loop: bool | None = None
    tag_beats: int | None = None
    named_bpm: tuple[float, ...] = ()
    named_metre: str | None = None
    genre: str | None = None
    genre_source: str = "name"
    pieces: tuple[str, ...] = field(default=())
    instruments: str | None = None
    cues: tuple[Cue, ...] = ()
    embedded: dict[str, str] = field(default_factory=dict)


def read_tags(path: Path, name: PurePosixPath) -> Tags:
    """`name` is the path below the recordings folder: folder names count like the file's, nearest first."""
    inside = read_embedded(path)
    words = _words(name)
    pieces = tuple(dict.fromkeys(_look_up(words, KIT_PIECES) + _look_up(words, PERCUSSION_PIECES)))
    genre = inside.texts.get("genre")
    return Tags(
        tag_bpm=_tag_bpm(inside),
        tag_metre=_tag_metre(inside),
        tag_loop=inside.loop,
        tag_beats=inside.beats,
        named_bpm=named_bpm(name),
        named_metre=named_metre(name),
        genre=genre or next(iter(_look_up(words, GENRES)), None),
        genre_source="tag" if genre else "name",
        pieces=pieces,
        instruments=_instruments(words),
        cues=inside.cues,
        embedded=inside.texts,
    )


def _tag_bpm(inside: Embedded) -> float | None:
    """The plausible tempo of ACID, else of a tag."""
    found = re.match(r"\d+(?:[.,]\d+)?", inside.texts.get("bpm", ""))
    for bpm in (inside.bpm, float(found[0].replace(",", ".")) if found else None):
        if bpm and _PLAUSIBLE_BPM[0] <= bpm <= _PLAUSIBLE_BPM[1]:
            return bpm
    return None


def _tag_metre(inside: Embedded) -> str | None:
    """ACID's, where its tempo also makes sense: programs leave the two empty together."""
    if inside.metre and inside.bpm and _PLAUSIBLE_BPM[0] <= inside.bpm <= _PLAUSIBLE_BPM[1]:
        with contextlib.suppress(ValueError):
            return str(parse_metre(inside.metre))
    return None


def named_bpm(name: PurePosixPath) -> tuple[float, ...]:
    """Plausible tempo numbers in the name, those beside the letters BPM first, the file before its folders."""
    marked: list[float] = []
    plain: list[float] = []
    for part in (name.stem, *reversed(name.parts[:-1])):
        for found in re.finditer(r"(?<![\d.])(\d{2,3}(?:\.\d+)?)(?!\d)", part):
            bpm = float(found[1])
            if _PLAUSIBLE_BPM[0] <= bpm <= _PLAUSIBLE_BPM[1]:
                around = part[max(0, found.start() - 4) : found.end() + 4].lower()
                (marked if "bpm" in around else plain).append(bpm)
    return tuple(dict.fromkeys([*marked, *plain]))


def _words(name: PurePosixPath) -> str:
    """The words of the name, lower case, single spaces, with a space at both ends."""
    spelled = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", " ".join([name.stem, *reversed(name.parts[:-1])]))
    return " " + " ".join(re.findall(r"[^\W\d_]+", spelled.lower())) + " "


def _look_up(words: str, table: dict[str, str]) -> list[str]:
    return list(dict.fromkeys(value for word, value in table.items() if f" {word} " in words))


def _instruments(words: str) -> str | None:
    kit = any(f" {word} " in words for word in KIT_WORDS) or bool(_look_up(words, KIT_PIECES))
    percussion = bool(_look_up(words, PERCUSSION_PIECES))
    if kit == percussion:
        return f"{DRUM_KIT}, {PERCUSSION}" if kit else None
    return DRUM_KIT if kit else PERCUSSION
