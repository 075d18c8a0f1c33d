"""Captions that follow the facts of their slice when a person changes one of these."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from data_prep.captioning.captions import compose
from data_prep.dataset_folder import Row
from data_prep.manifest_rows import captions_of

_TRIGGER = "\0"
_BPM = r"(?<![\d.]){}(?![\d.]*\d)"


def follow(row: Row, fields: Mapping[str, Any]) -> Row:
    """The keys that change where `fields` take the place of the row's: facts, and captions that say them.

    Captions that were composed from the facts are composed again, with their trigger word. In those that a person
    wrote the numbers of tempo and length change, and nothing else.
    """
    now: Row = {"fields": dict(fields)}
    composed, trigger = _how_composed(row)
    if composed:
        captions = captions_of(now["fields"], trigger)
        return now | {"text": captions[0], "captions": list(captions)}
    rewrite = _renumbered(row["fields"], fields)
    text, captions_now = rewrite(row["text"]), [rewrite(each) for each in row["captions"]]
    return now | {"text": text, "captions": captions_now}


def _how_composed(row: Row) -> tuple[bool, str | None]:
    """Whether the caption is the one that its facts compose, and with which trigger word."""
    known = _known(row["fields"])
    if row["text"] == compose(known):
        return True, None
    before, _, after = compose(known, _TRIGGER).partition(_TRIGGER)
    text = row["text"]
    if text.startswith(before) and text.endswith(after) and len(text) > len(before) + len(after):
        return True, text[len(before) : len(text) - len(after)]
    return False, None


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each["value"] for key, each in fields.items() if each["source"] != "default"}


def _renumbered(before: Mapping[str, Any], after: Mapping[str, Any]) -> Callable[[str], str]:
    """A function that puts another tempo and length where a caption says the old ones."""
    changes: list[tuple[re.Pattern[str], str]] = []
    old, new = (_number(fields, "tempo") for fields in (before, after))
    if old and new and old != new:
        number = _BPM.format(re.escape(old))
        said = re.compile(rf"(?:(?<=BPM: )|(?<=BPM )){number}|{number}(?= ?BPM)", re.IGNORECASE)
        changes.append((said, new))
    old, new = (_length(fields) for fields in (before, after))
    if old and new and old != new:
        changes.append((re.compile(re.escape(old) + r"\b"), new))

    def rewrite(text: str) -> str:
        for said, now in changes:
            text = said.sub(now, text)  # digits and a word: nothing that `sub` would read as a group
        return text

    return rewrite


def _number(fields: Mapping[str, Any], name: str) -> str | None:
    value = (fields.get(name) or {}).get("value")
    return f"{float(value):.1f}".removesuffix(".0") if value else None


def _length(fields: Mapping[str, Any]) -> str | None:
    """`Length: 2.6 seconds`, as a caption of that fact alone ends."""
    seconds = (fields.get("seconds") or {}).get("value")
    return compose({"seconds": seconds}).rpartition(". ")[2] if seconds else None
