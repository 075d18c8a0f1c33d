"""The words of a house: a YAML file in which musicians say how captions name things, in any language.

words:                          # field -> what it would say -> your word; '' leaves it out
  kind: {loop: Schleife}
  pieces: {kick: Bassdrum, hi-hat: Hi-Hat}
  joining: {of: aus, and: und}
files:                          # file name, or path below the recordings -> what you know of them
  "*gretsch*": {kit: 1962 Gretsch, feel: laid back}
  "slow/*": {genre: Dub, phrases: [played with brushes]}
phrases: [recorded to tape]     # in every caption
forbidden: [loop pack]          # whatever has these words in it is left out
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from data_prep.captioning.captions import SAYABLE, says_forbidden
from data_prep.sidecars import read_yaml

LONGEST_WORDS = 200
TOLD = ("kit", "feel", "instruments", "genre", "pieces", "room", "phrases")
"""What may be said of files."""
_LISTS = ("pieces", "phrases")
_KEYS = ("words", "files", "phrases", "forbidden")

Said = dict[str, Any]


@dataclass(frozen=True)
class Vocabulary:
    """`words`: field -> value -> word; `files`: pattern -> field -> what is said of those recordings."""

    words: dict[str, dict[str, str]] = field(default_factory=dict)
    files: dict[str, Said] = field(default_factory=dict)
    phrases: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    def facts(self, recording: str) -> dict[str, dict[str, Any]]:
        """What a person has said of a recording (POSIX path below the library), as facts from the source `user`; and
        under `vocabulary` the words that captions are to use, where there are any."""
        told: Said = {}
        for pattern, said in self.files.items():
            if _fits(recording, pattern):
                told |= said
        phrases = [*self.phrases, *told.pop("phrases", [])]
        words = {"words": self.words, "phrases": phrases, "forbidden": list(self.forbidden)}
        facts = {key: _user(value) for key, value in told.items()}
        used = {key: value for key, value in words.items() if value}
        return facts | ({"vocabulary": _user(used)} if used else {})

    def unmatched(self, recordings: list[str]) -> list[str]:
        """Patterns that no recording fits: most often a slip of the pen."""
        return [pattern for pattern in self.files if not any(_fits(name, pattern) for name in recordings)]


def read_vocabulary(path: Path) -> Vocabulary:
    """ValueError, a sentence with the file and the place in it, where it is no vocabulary."""
    content = read_yaml(path)
    try:
        return _vocabulary(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _vocabulary(content: Any) -> Vocabulary:
    content = _mapping(content or {}, "the file", _KEYS)
    words = _mapping(content.get("words") or {}, "words", tuple(SAYABLE))
    files = _mapping(content.get("files") or {}, "files")
    return Vocabulary(
        {key: _words(value, key) for key, value in words.items()},
        {pattern: _told(said, f"files, {pattern!r}") for pattern, said in files.items()},
        tuple(_texts(content.get("phrases") or [], "phrases")),
        tuple(_texts(content.get("forbidden") or [], "forbidden")),
    )


def _words(content: Any, key: str) -> dict[str, str]:
    """What a field would say -> the house's word; the values of most fields are known, so slips are found."""
    where = f"words, {key}"
    known = SAYABLE[key]
    found = _mapping(content, where, known)
    return {value: _text(word, f"{where}, {value}", empty=True) for value, word in found.items()}


def _told(content: Any, where: str) -> Said:
    said = _mapping(content, where, TOLD)
    return {
        key: _texts(value, f"{where}, {key}") if key in _LISTS else _text(value, f"{where}, {key}")
        for key, value in said.items()
    }


def _mapping(content: Any, where: str, known: tuple[str, ...] = ()) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise ValueError(f"{where} is to be `key: value` pairs, not {_kind(content)}.")
    for key in content:
        if not isinstance(key, str):
            raise ValueError(f"{where}: YAML reads the key {key!r} as {_kind(key)}; put it in quotes.")
        if known and key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f" Did you mean {near[0]}?" if near else f" Known are {', '.join(known)}."
            raise ValueError(f"{where} has no {key!r}.{hint}")
    return dict(content)


def _texts(content: Any, where: str) -> list[str]:
    items = content if isinstance(content, list) else [content]
    return [_text(item, where) for item in items]


def _text(content: Any, where: str, empty: bool = False) -> str:
    if not isinstance(content, str):
        raise ValueError(f"{where}: YAML reads {content!r} as {_kind(content)}; put it in quotes.")
    text = " ".join(content.split())
    if (not text and not empty) or not text.isprintable():
        raise ValueError(f"{where} is empty or has characters that cannot be read; write a word.")
    if len(text) > LONGEST_WORDS:
        raise ValueError(f"{where} has {len(text)} characters; {LONGEST_WORDS} at most.")
    return text


def _kind(content: Any) -> str:
    if isinstance(content, bool):
        return "yes or no"
    if isinstance(content, int | float):
        return "a number"
    return "nothing" if content is None else "a list" if isinstance(content, list) else "something else"


def _fits(name: str, pattern: str) -> bool:
    """A pattern with a slash is a path, one without a file's name in any folder; capitals do not matter."""
    subject = name if "/" in pattern else PurePosixPath(name).name
    return fnmatchcase(subject.casefold(), pattern.casefold())


def _user(value: Any) -> dict[str, Any]:
    return {"value": value, "source": "user", "confidence": 1.0}


def check_trigger(vocabulary: Vocabulary, trigger: str | None) -> None:
    """ValueError where the trigger is a word that the vocabulary forbids."""
    if trigger and says_forbidden(trigger, vocabulary.forbidden):
        raise ValueError(f"--trigger {trigger} is a word that the vocabulary forbids; change one of them.")
