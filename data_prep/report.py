"""What a preparation did, as data: what is printed, and what `--json` gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class RecordingReport:
    """One recording that was used. `tempo` is `{bpm, source, confidence, candidates}` or None; `gates` is gate ->
    sentence; `rests` are stretches that no slice covers: (start, end) in seconds, and why."""

    recording: str
    split: str
    slices: int
    seconds: float
    source_rate: int
    channels: int
    gain_db: float
    hits: int
    tempo: dict[str, Any] | None
    metre: dict[str, str]
    downbeat_confidence: float | None
    gates: dict[str, str]
    warnings: list[str]
    rests: list[tuple[float, float, str]]
    done_now: bool


@dataclass(frozen=True)
class LeftOut:
    """A recording that was not used: `gate` is one word, `reason` a sentence."""

    recording: str
    gate: str
    reason: str


@dataclass(frozen=True)
class Report:
    """The whole run. `changed` is False where the dataset was already as it should be and nothing was written."""

    dataset: str
    recordings: list[RecordingReport]
    left_out: list[LeftOut]
    slices: int
    train_slices: int
    validation_slices: int
    minutes: float
    copies: list[list[str]]
    removed: list[str]
    edited_captions: int
    warnings: list[str] = field(default_factory=list)
    changed: bool = True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
