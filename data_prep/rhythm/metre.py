"""Metres: 4/4, 7/8, ... and how many quarter notes make their bar."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

_NUMBERS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
}  # fmt: skip
_COUNTERS = r"(?:take|part|track|mix|mic|loop|no|nr|v|vol|day|set)[ _.-]*$"
_NAMEABLE = {"2/4", "3/4", "4/4", "5/4", "6/4", "7/4"} | {
    f"{beats}/8" for beats in (3, 5, 6, 7, 9, 10, 11, 12, 13, 15)
}


@dataclass(frozen=True)
class Metre:
    """`numerator` notes of length 1/`denominator` in a bar."""

    numerator: int
    denominator: int

    @property
    def quarter_notes(self) -> float:
        """Length of a bar in quarter notes: what BPM counts."""
        return self.numerator * 4 / self.denominator

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"


def parse_metre(text: str) -> Metre:
    """`7/8` as a Metre; ValueError with a sentence where it is none."""
    found = re.fullmatch(r"\s*(\d{1,2})\s*/\s*(\d{1,2})\s*", text)
    if not found or not 1 <= int(found[1]) <= 32 or int(found[2]) not in (1, 2, 4, 8, 16):
        raise ValueError(f"{text!r} is no metre; write it like 4/4, 7/8 or 6/8.")
    return Metre(int(found[1]), int(found[2]))


def named_metre(name: PurePosixPath) -> str | None:
    """A metre in a file or folder name (`7_8`, `7-8`, `seven_eight`), the file before its folders."""
    for part in (name.stem, *reversed(name.parts[:-1])):
        for found in re.finditer(r"(?<![\d.])(\d{1,2})[_-](4|8)(?![\d.])", part):
            if f"{found[1]}/{found[2]}" in _NAMEABLE and not re.search(
                _COUNTERS, part[: found.start()], re.IGNORECASE
            ):
                return f"{found[1]}/{found[2]}"
        words = re.findall(r"[a-z]+", part.lower())
        for upper, lower in pairwise(words):
            spelled = f"{_NUMBERS.get(upper)}/{_NUMBERS.get(lower)}"
            if spelled in _NAMEABLE:
                return spelled
    return None
