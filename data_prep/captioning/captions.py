"""Captions in one grammar, composed from plain facts; pure, and light to import.

    TrackType: Instrument, Instruments: Drum Kit, Genre: Breakbeat. mykit swung loop of kick, snare and
    hi-hat, bright, dry and dense. BPM: 92. Metre: 4/4. Length: 10 seconds

The tags in front and the fields behind are those of Stability's prompting guide. A fact that is not known is
simply not there: nothing is filled in. Keys that `compose` understands, all of them optional:

| key | value | in the caption |
| --- | --- | --- |
| track_type | str | `TrackType: Instrument` (the default) |
| instruments | str or list of str | `Instruments: Drum Kit`; `Percussion` when unknown |
| genre | str | `Genre: Breakbeat` |
| kind | `loop`, `one-shot`, `phrase`, `take` | the noun of the sentence; `recording` when unknown |
| feel | str | before the noun |
| pieces | list of str | `of kick, snare and hi-hat` |
| swing | float, .5 straight, .67 triplets | from .55 `swung`, up to .52 `straight`, between them nothing |
| kit | str | after the noun |
| brightness | `dark`, `bright` | the word |
| room | `dry`, `roomy` | the word |
| density | `sparse`, `dense` | the word |
| dynamics | `even`, `dynamic` | `even dynamics`, `wide dynamics` |
| width | `mono`, `narrow`, `wide` | `mono`, `narrow stereo`, `wide stereo` |
| tempo | float, quarter notes per minute | `BPM: 92` |
| metre | `4/4`, `7/8` | `Metre: 7/8` |
| key | str | `Key: A minor`; for pitched material only |
| seconds | float | `Length: 10 seconds` |
| caption | str | the sentence, in the words of a captioner |
| vocabulary | `{words, phrases, forbidden}`, see vocabulary.py | other words, and more of them |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

SWUNG_FROM = 0.55
STRAIGHT_UP_TO = 0.52
TRIGGER_SHARE = 0.8
"""Share of the varied captions that carry the trigger word, so that the adapter also answers without it."""
SUBSET_SHARE = 0.7
"""Chance of each fact to appear in a varied caption."""

_DYNAMICS = {"even": "even dynamics", "dynamic": "wide dynamics"}
_WIDTH = {"mono": "mono", "narrow": "narrow stereo", "wide": "wide stereo"}
SAYABLE: dict[str, tuple[str, ...]] = {
    "kind": ("loop", "one-shot", "phrase", "take", "recording"),
    "pieces": (),
    "swing": ("swung", "straight"),
    "brightness": ("dark", "bright"),
    "room": ("dry", "roomy"),
    "density": ("sparse", "dense"),
    "dynamics": ("even", "dynamic"),
    "width": ("mono", "narrow", "wide"),
    "instruments": (),
    "genre": (),
    "kit": (),
    "feel": (),
    "joining": ("of", "and"),
}
"""Fields for which a vocabulary may have other words, and what they can say; nothing listed: anything."""


def compose(fields: Mapping[str, Any], trigger: str | None = None, variant: int = 0) -> str:
    """One caption. `variant` 0 is the canonical one: every known fact, fixed order, trigger first.

    Any other number draws, reproducibly, a subset of the facts in another order, with the trigger on a share
    of the captions; instruments and the noun always stay.
    """
    draw = Random(variant) if variant else None
    words = Words(fields.get("vocabulary") or {})
    tags = _tags(fields, words, draw)
    details = _details(fields)
    adjectives = _adjectives(fields, words)
    pieces = words.say_all("pieces", _as_list(fields.get("pieces")))
    if draw:
        details = _subset(details, draw)
        adjectives = _subset(adjectives, draw)
        draw.shuffle(pieces)
        trigger = trigger if draw.random() < TRIGGER_SHARE else None
    sentence = fields.get("caption") or _sentence(fields, words, pieces, adjectives)
    parts = [", ".join(tags), " ".join(part for part in (trigger, sentence) if part), *details]
    return ". ".join(parts)


class Words:
    """What a house calls things: `words` field -> value -> word, `phrases` for every caption, `forbidden` words."""

    def __init__(self, vocabulary: Mapping[str, Any]) -> None:
        self._words: Mapping[str, Mapping[str, str]] = vocabulary.get("words") or {}
        self._forbidden: Sequence[str] = vocabulary.get("forbidden") or ()
        self.phrases = [each for each in vocabulary.get("phrases") or () if self._allowed(each)]

    def say(self, field: str, value: str | None, usually: str | None = None) -> str:
        """The word for a value of a field; empty where there is none, or it is not to be said."""
        if not value:
            return ""
        word = self._words.get(field, {}).get(value, usually or value)
        return word if self._allowed(word) else ""

    def say_all(self, field: str, values: list[str]) -> list[str]:
        return list(dict.fromkeys(word for value in values if (word := self.say(field, value))))

    def join(self, words: list[str]) -> str:
        return join_words(words, self._joining("and"))

    def of(self, words: list[str]) -> str:
        return f"{self._joining('of')} {self.join(words)}"

    def _joining(self, word: str) -> str:
        return self._words.get("joining", {}).get(word) or word

    def _allowed(self, text: str) -> bool:
        return not says_forbidden(text, self._forbidden)


def says_forbidden(text: str, forbidden: Sequence[str]) -> bool:
    """Whether one of the words or phrases stands in the text, as a word of its own; capitals do not matter."""
    return any(
        re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", text.casefold()) for word in forbidden
    )


def variants(fields: Mapping[str, Any], trigger: str | None = None, count: int = 5) -> tuple[str, ...]:
    """Up to `count` different captions of the same facts; the first is the canonical one."""
    captions: dict[str, None] = {compose(fields, trigger): None}
    for variant in range(1, 4 * count):
        if len(captions) == count:
            break
        captions[compose(fields, trigger, variant)] = None
    return tuple(captions)


def swing_word(swing: float) -> str | None:
    """`swung`, `straight`, or None where the ear would not commit itself."""
    if swing >= SWUNG_FROM:
        return "swung"
    return "straight" if swing <= STRAIGHT_UP_TO else None


def join_words(words: list[str], joint: str = "and") -> str:
    """`["a", "b", "c"]` as `a, b and c`."""
    return f" {joint} ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _tags(fields: Mapping[str, Any], words: Words, draw: Random | None) -> list[str]:
    instruments = words.say_all("instruments", _as_list(fields.get("instruments")))
    tags = [f"Instruments: {', '.join(instruments) or 'Percussion'}"]
    if not draw or draw.random() < SUBSET_SHARE:
        tags.insert(0, f"TrackType: {fields.get('track_type') or 'Instrument'}")
    genre = words.say("genre", fields.get("genre"))
    if genre and (not draw or draw.random() < SUBSET_SHARE):
        tags.append(f"Genre: {genre}")
    return tags


def _sentence(fields: Mapping[str, Any], words: Words, pieces: list[str], adjectives: list[str]) -> str:
    swing = swing_word(float(fields["swing"])) if fields.get("swing") is not None else None
    noun = words.say("kind", fields.get("kind")) or words.say("kind", "recording") or "recording"
    before = [words.say("feel", fields.get("feel")), words.say("swing", swing), noun]
    sentence = " ".join(word for word in before if word)
    if pieces:
        sentence += f" {words.of(pieces)}"
    return f"{sentence}, {words.join(adjectives)}" if adjectives else sentence


def _adjectives(fields: Mapping[str, Any], words: Words) -> list[str]:
    plain = [words.say(name, fields.get(name)) for name in ("kit", "brightness", "room", "density")]
    for name, phrases in (("dynamics", _DYNAMICS), ("width", _WIDTH)):
        if usually := phrases.get(fields.get(name) or ""):
            plain.append(words.say(name, fields[name], usually))
    return [*(word for word in plain if word), *words.phrases]


def _details(fields: Mapping[str, Any]) -> list[str]:
    details = []
    if fields.get("tempo"):
        details.append(f"BPM: {_number(float(fields['tempo']))}")
    if fields.get("metre"):
        details.append(f"Metre: {fields['metre']}")
    if fields.get("key"):
        details.append(f"Key: {fields['key']}")
    if fields.get("seconds"):
        seconds = float(fields["seconds"])
        length = _number(round(seconds) if seconds >= 10 else max(seconds, 0.1))
        details.append(f"Length: {length} {'second' if length == '1' else 'seconds'}")
    return details


def _number(value: float) -> str:
    """With one decimal, and without it where it would be a zero."""
    return f"{value:.1f}".removesuffix(".0")


def _as_list(value: Any) -> list[str]:
    if not value:
        return []
    return [value] if isinstance(value, str) else list(value)


def _subset(words: list[str], draw: Random) -> list[str]:
    """Some of the words, in another order."""
    kept = [word for word in words if draw.random() < SUBSET_SHARE]
    draw.shuffle(kept)
    return kept
