"""Where the bars of a clip begin: from its tempo, its metre, and its own first bar line or that of its recording."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_prep.rhythm.metre import parse_metre

NEARLY = (
    0.03  # seconds; slices begin a little before the beat, and one that begins a little after it has that bar
)


@dataclass(frozen=True)
class Bars:
    """`first`: seconds from the clip's beginning to its first bar line; `length`: seconds of a bar."""

    first: float
    length: float

    def lines(self, seconds: float) -> list[float]:
        """All bar lines before `seconds`, in seconds from the clip's beginning."""
        count = max(0, math.ceil(round((seconds - self.first) / self.length, 6)))
        return [self.first + number * self.length for number in range(count)]


def find_bars(row: Mapping[str, Any], recording: Mapping[str, Any]) -> Bars | None:
    """The bars of the clip that `row` of manifest.jsonl describes; `recording` is its row of recordings.jsonl.

    They count from `downbeat_sample` of the row, which follows a player whose tempo drifts; without it from the first
    beat of the recording.

    None where the tempo, the metre or the first beat is not known, or is not what it should be.
    """
    fields = row.get("fields") or {}
    try:
        tempo, metre = (fields[name]["value"] for name in ("tempo", "metre"))
        bar = parse_metre(metre).quarter_notes * 60 / float(tempo)
        line = row.get("downbeat_sample")
        anchor = float(recording["anchor_seconds"]) if line is None else line / row["sample_rate"]
        first = (anchor - row["start_sample"] / row["sample_rate"]) % bar
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return Bars(0.0 if bar - first <= NEARLY else first, bar)
