"""Words of others as data in a Markdown page: shown as they are, and acting on nothing."""

from __future__ import annotations

import re

_ACTS = re.compile(r"([\\`*_\[\]|~$])")
_BEGINS = re.compile(r"^(?:([#+=-])|(\d+)([.)])(?=\s|$))")  # a heading, a list, a rule
_TURNS = re.compile(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # marks that reorder the text around them
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Markdown(str):
    """Text that is Markdown already."""


def as_markdown(value: object) -> str:
    """`value` on one line, with nothing in it that Markdown or HTML acts on; what is Markdown already stays."""
    if isinstance(value, Markdown):
        return value
    text = one_line(str(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _ACTS.sub(r"\\\1", text)
    return _BEGINS.sub(lambda found: f"\\{found[1]}" if found[1] else f"{found[2]}\\{found[3]}", text)


def one_line(text: str) -> str:
    """`text` without line ends, control characters and marks of direction."""
    return " ".join(_CONTROL.sub(" ", _TURNS.sub("", text)).split())


def code(text: str, language: str = "") -> Markdown:
    """A block of code that holds `text` as it stands, whatever is in it."""
    lines = [_CONTROL.sub(" ", _TURNS.sub("", line)).rstrip() for line in text.splitlines()]
    runs = [len(run) for line in lines for run in re.findall(r"`+", line)]
    fence = "`" * max(3, 1 + max(runs, default=0))
    return Markdown("\n".join([f"{fence}{language}", *lines, fence]))
