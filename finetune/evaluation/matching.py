"""Onsets found against onsets that are there: one to one, within a tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Matching:
    """`matched` pairs among `reference` onsets and `found` ones; `+` pools the counts of several files."""

    matched: int
    reference: int
    found: int

    def __add__(self, other: Matching) -> Matching:
        return Matching(
            self.matched + other.matched, self.reference + other.reference, self.found + other.found
        )

    @property
    def precision(self) -> float:
        """Share of what was found that is there; 1 where nothing was found."""
        return self.matched / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of what is there that was found; 1 where nothing is there."""
        return self.matched / self.reference if self.reference else 1.0

    @property
    def f(self) -> float:
        """Harmonic mean of precision and recall: 2 · matched / (reference + found)."""
        both = self.reference + self.found
        return 2 * self.matched / both if both else 1.0


def match(reference: Sequence[float], found: Sequence[float], tolerance: float) -> Matching:
    """The most pairs that can be made of two lists of times, each time in one pair, at most `tolerance` apart.

    For times on a line, pairing the earliest that still fit is the largest matching. All in the same unit.
    """
    there, heard = sorted(reference), sorted(found)
    matched = at = beside = 0
    while at < len(there) and beside < len(heard):
        late = heard[beside] - there[at]
        if abs(late) <= tolerance:
            matched, at, beside = matched + 1, at + 1, beside + 1
        elif late < 0:
            beside += 1
        else:
            at += 1
    return Matching(matched, len(there), len(heard))
