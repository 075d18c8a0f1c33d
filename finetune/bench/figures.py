"""Figures with their targets, and the parts of a benchmark that hold them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


class PartName(StrEnum):
    """The parts of the starter's benchmark."""

    autoencoder = "autoencoder"
    prompts = "prompts"
    tempo = "tempo"
    fine_tuning = "fine-tuning"
    speed = "speed"


@dataclass(frozen=True)
class Figure:
    """One measured number. `at_least`, `at_most` or `above` is its target; without one it is only stated."""

    name: str
    value: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None

    @property
    def reached(self) -> bool | None:
        """None where there is nothing to reach; a value that is not a number reaches nothing."""
        if self.at_least is not None:
            return bool(self.value >= self.at_least)
        if self.at_most is not None:
            return bool(self.value <= self.at_most)
        return None if self.above is None else bool(self.value > self.above)

    @property
    def target(self) -> str:
        """The target in words, such as `≥ 0.95`."""
        for sign, wanted in (("≥", self.at_least), ("≤", self.at_most), (">", self.above)):
            if wanted is not None:
                return f"{sign} {wanted:g} {self.unit}".rstrip()
        return ""

    @property
    def text(self) -> str:
        """The value with as many digits as it deserves."""
        digits = {"%": 1, "dB": 2, "s": 2, "min": 1}.get(self.unit, 3)
        return f"{self.value:.{digits}f} {self.unit}".rstrip()


@dataclass(frozen=True)
class Grid:
    """A table that goes with the figures: what each file, or each thing asked for, came to."""

    title: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Listening:
    """Sounds to hear side by side: name → (2, samples) audio, under a title."""

    title: str
    sounds: dict[str, np.ndarray]


@dataclass(frozen=True)
class Part:
    """What one part of a benchmark found. `left_out` is why it could not be done, and then it holds nothing else.

    `details` is plain data for bench.json; `notes` are sentences that say how the figures were made.
    """

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    listening: list[Listening] = field(default_factory=list)
    left_out: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Everything but the sounds."""
        if self.left_out is not None:
            return {"left_out": self.left_out}
        figures = [
            {
                "name": figure.name, "value": figure.value if math.isfinite(figure.value) else None,
                "unit": figure.unit, "target": figure.target or None, "reached": figure.reached,
            }
            for figure in self.figures
        ]  # fmt: skip
        return {"title": self.title, "figures": figures, "notes": self.notes, "details": self.details}
