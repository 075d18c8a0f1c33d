"""What a preparation is asked to do; two runs with the same settings make the same dataset."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from data_prep.captioning.vocabulary import Vocabulary, check_trigger
from data_prep.rhythm.metre import Metre, parse_metre
from data_prep.slicing.slices import KeepOrDrop, Slicing, Tail

PREP_VERSION = 4
"""Raised whenever the same recording and settings would give other slices or facts: all is then redone."""


@dataclass(frozen=True)
class Settings:
    """How to slice, and what the musician says about the music.

    `bpm` is a tempo, `bpm_range` (lowest, highest) where it is to be looked for; `metre` like `7/8`; `seconds` is
    the window of fixed slicing. `trigger` is the word that will call the adapter, `validation` the share of the
    seconds to hold out. `downbeat` is where the first bar begins, in seconds; with `click` one tempo holds from end
    to end; `count_in`, `pickup` and `tail` are what becomes of what is played before the first bar and after the last
    whole slice; `vocabulary` is the house's own words for captions, `captioner` the name of a plug-in that writes them.
    ValueError, with a sentence, where they make no sense together.
    """

    slicing: Slicing = Slicing.bars
    bars: int = 4
    bpm: float | None = None
    bpm_range: tuple[float, float] | None = None
    metre: str | None = None
    seconds: float | None = None
    trigger: str | None = None
    validation: float = 0.15
    downbeat: float | None = None
    click: bool = False
    count_in: KeepOrDrop = KeepOrDrop.drop
    pickup: KeepOrDrop = KeepOrDrop.drop
    tail: Tail = Tail.drop
    vocabulary: Vocabulary | None = None
    captioner: str | None = None

    def __post_init__(self) -> None:
        if self.bars < 1:
            raise ValueError(f"--bars {self.bars} is no length; say 1 or more.")
        if self.slicing is Slicing.fixed and not self.seconds:
            raise ValueError(
                "--slice fixed needs the length of its windows: say --seconds, for example --seconds 10."
            )
        if self.seconds is not None and not 0.1 <= self.seconds <= 380:
            raise ValueError(
                f"--seconds {self.seconds:g} is not between 0.1 and 380, the lengths the bases know."
            )
        if self.bpm is not None and not 20 <= self.bpm <= 400:
            raise ValueError(f"--bpm {self.bpm:g} is not between 20 and 400.")
        if self.bpm_range and not 20 <= self.bpm_range[0] < self.bpm_range[1] <= 400:
            low, high = self.bpm_range
            raise ValueError(f"--bpm {low:g}-{high:g} is no range from slow to fast between 20 and 400.")
        if not 0 <= self.validation <= 0.5:
            raise ValueError(f"--validation {self.validation:g} is not between 0 and 0.5.")
        if self.trigger is not None and not self.trigger.strip():
            raise ValueError("--trigger is empty; give a word, or leave it out.")
        if self.vocabulary:
            check_trigger(self.vocabulary, self.trigger)
        if self.downbeat is not None and not 0 <= self.downbeat < 86_400:
            raise ValueError(
                f"--downbeat {self.downbeat:g} is no place in a recording, in seconds from its beginning."
            )
        if self.metre is not None:
            parse_metre(self.metre)

    @property
    def bar(self) -> Metre | None:
        return parse_metre(self.metre) if self.metre else None

    def analysis_key(self) -> str:
        """Hash of everything that changes slices and facts; words and split do not."""
        described = asdict(self) | {"version": PREP_VERSION}
        for later in ("trigger", "validation", "vocabulary", "captioner"):
            del described[later]
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def parse_bpm(text: str) -> tuple[float | None, tuple[float, float] | None]:
    """`92` as (92, None), `150-185` as (None, (150, 185)); ValueError with a sentence otherwise."""
    low, dash, high = text.replace("–", "-").partition("-")
    try:
        return (None, (float(low), float(high))) if dash else (float(low), None)
    except ValueError:
        raise ValueError(f"--bpm {text} is neither a tempo like 92 nor a range like 150-185.") from None
