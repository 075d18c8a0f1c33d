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
| pieces | list of str | `of kick, snare and hi-hat` |
| swing | float, .5 straight, .67 triplets | from .55 `swung`, up to .52 `straight`, between them nothing |
| brightness | `dark`, `warm`, `bright` | the word |
| room | `dry`, `roomy` | the word |
| density | `sparse`, `dense` | the word |
| dynamics | `even`, `dynamic` | `even dynamics`, `wide dynamics` |
| width | `mono`, `narrow`, `wide` | `mono`, `narrow stereo`, `wide stereo` |
| tempo | float, quarter notes per minute | `BPM: 92` |
| metre | `4/4`, `7/8` | `Metre: 7/8` |
| seconds | float | `Length: 10 seconds` |
"""

from __future__ import annotations

from collections.abc import Mapping
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


def compose(fields: Mapping[str, Any], trigger: str | None = None, variant: int = 0) -> str:
    """One caption. `variant` 0 is the canonical one: every known fact, fixed order, trigger first.

    Any other number draws, reproducibly, a subset of the facts in another order, with the trigger on a share
    of the captions; instruments and the noun always stay.
    """
    draw = Random(variant) if variant else None
    tags = _tags(fields, draw)
    details = _details(fields)
    adjectives = _adjectives(fields)
    pieces = _as_list(fields.get("pieces"))
    if draw:
        details = _subset(details, draw)
        adjectives = _subset(adjectives, draw)
        draw.shuffle(pieces)
        trigger = trigger if draw.random() < TRIGGER_SHARE else None
    return ". ".join([", ".join(tags), _sentence(fields, pieces, adjectives, trigger), *details])


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


def join_words(words: list[str]) -> str:
    """`["a", "b", "c"]` as `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _tags(fields: Mapping[str, Any], draw: Random | None) -> list[str]:
    tags = [f"Instruments: {', '.join(_as_list(fields.get('instruments'))) or 'Percussion'}"]
    if not draw or draw.random() < SUBSET_SHARE:
        tags.insert(0, f"TrackType: {fields.get('track_type') or 'Instrument'}")
    if fields.get("genre") and (not draw or draw.random() < SUBSET_SHARE):
        tags.append(f"Genre: {fields['genre']}")
    return tags


def _sentence(
    fields: Mapping[str, Any], pieces: list[str], adjectives: list[str], trigger: str | None
) -> str:
    swing = swing_word(float(fields["swing"])) if fields.get("swing") is not None else None
    words = [trigger, swing, fields.get("kind") or "recording"]
    sentence = " ".join(word for word in words if word)
    if pieces:
        sentence += f" of {join_words(pieces)}"
    return f"{sentence}, {join_words(adjectives)}" if adjectives else sentence


def _adjectives(fields: Mapping[str, Any]) -> list[str]:
    words = [fields.get("brightness"), fields.get("room"), fields.get("density")]
    words.append(_DYNAMICS.get(fields.get("dynamics") or ""))
    words.append(_WIDTH.get(fields.get("width") or ""))
    return [word for word in words if word]


def _details(fields: Mapping[str, Any]) -> list[str]:
    details = []
    if fields.get("tempo"):
        details.append(f"BPM: {_number(float(fields['tempo']))}")
    if fields.get("metre"):
        details.append(f"Metre: {fields['metre']}")
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
