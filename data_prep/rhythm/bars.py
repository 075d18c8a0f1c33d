"""Slices of whole bars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from data_prep.rhythm.beats import Beats
from data_prep.rhythm.onsets import Onset
from data_prep.slicing.slices import LOOP_EDGE, PRE_ROLL, KeepOrDrop, Rest, Span, Tail

NOTHING_STRUCK = "nothing is struck in it"


@dataclass(frozen=True)
class Lines:
    """Where slices begin: `place(n)` is the sample (not a whole number) of the n-th, a part of a slice further for
    parts of one; `size` the samples of each, None where they follow the player."""

    place: Callable[[float], float]
    size: int | None

    def span(self, number: int) -> tuple[int, int]:
        start = round(self.place(number))
        return start, start + self.size if self.size else round(self.place(number + 1))


def bars(
    onsets: list[Onset],
    beats: Beats,
    beats_per_slice: float,
    beats_per_bar: float,
    *,
    begin: int,
    end: int,
    length: int,
    pickup: KeepOrDrop = KeepOrDrop.drop,
    tail: Tail = Tail.drop,
) -> tuple[list[Span], list[Rest]]:
    """Slices of whole bars between the samples `begin` and `end` of a recording of `length`.

    All lie 3 ms before their beat, so that none starts within a hit. On one tempo each has exactly
    round(beats * 60 / bpm * 44100) samples and the grid never drifts; where the player is followed each ends where
    the next begins. Slices in which nothing is struck are left over; `pickup` and `tail` say what becomes of hits
    before the first bar and after the last whole slice.
    """
    lines, count = _lines(beats, beats_per_slice, end, length)
    struck = np.array([onset.sample for onset in onsets])
    spans, rests = [], []
    for number in range(count):
        start, stop = lines.span(number)
        beyond = max(0, stop - length)  # by rounding
        start, stop = start - beyond, stop - beyond
        if np.any((struck >= start) & (struck < stop)):
            spans.append(Span(start, stop))
        else:
            rests.append(Rest(start, stop, NOTHING_STRUCK))
    first, last = round(lines.place(0)), round(lines.place(count))
    before, left = struck[(struck >= begin) & (struck < first)], struck[(struck >= last) & (struck < end)]
    if len(before):
        bar = (beats.places[1] - beats.places[0]) * beats_per_bar
        _pick_up(max(begin, int(before[0]) - PRE_ROLL), first, bar, pickup, spans, rests)
    if len(left) and tail is Tail.pad and end == length:
        spans.append(Span(*lines.span(count)))
    elif len(left) and tail is not Tail.drop:
        _shorter(lines, count, beats_per_bar / beats_per_slice, left, end, spans, rests)
    elif end - last > LOOP_EDGE:
        why = "the last slice would be incomplete" if len(left) else NOTHING_STRUCK
        rests.append(Rest(last, end, why))
    return spans, rests


def _lines(beats: Beats, beats_per_slice: float, end: int, length: int) -> tuple[Lines, int]:
    """Where slices begin, and how many are whole."""
    first = max(0.0, float(beats.places[0]) - PRE_ROLL)
    exact = round((beats.at(1) - beats.at(0)) * beats_per_slice, 6)  # half a sample stays one
    if not beats.steady:
        lines = Lines(lambda number: max(0.0, beats.at(number * beats_per_slice) - PRE_ROLL), None)
        count = 0
        while lines.place(count + 1) <= end:
            count += 1
        return lines, count
    count = max(0, int((end - first) // exact))
    missing = first + (count + 1) * exact - end
    if end == length and missing <= min(
        first, LOOP_EDGE
    ):  # a loop cut to length whose first hit is a little late
        first, count = first - missing, count + 1
    return Lines(lambda number: first + number * exact, round(exact)), count


def _pick_up(
    start: int, first: int, bar: float, pickup: KeepOrDrop, spans: list[Span], rests: list[Rest]
) -> None:
    """Let the first slice begin with the pick-up, if that is no longer than a bar, or leave it over."""
    if pickup is KeepOrDrop.keep and spans and spans[0].start == first and first - start <= bar:
        spans[0] = Span(start, spans[0].end)
    else:
        rests.append(Rest(start, first, "it is played before the first bar (--pickup keep takes it in)"))


def _shorter(
    lines: Lines, count: int, bar: float, left: np.ndarray, end: int, spans: list[Span], rests: list[Rest]
) -> None:
    """A last slice of fewer bars, those that are there; `bar` is the share of a slice that a bar is."""
    start = last = round(lines.place(count))
    whole = 1
    while (place := round(lines.place(count + whole * bar))) <= end:
        last, whole = place, whole + 1
    if np.any(left < last):
        spans.append(Span(start, last))
    else:
        last = start
    if np.any(left >= last):
        rests.append(Rest(last, end, "the last bar is incomplete"))
