"""What a preparation did, as data: what is printed, and what `--json` gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_prep.dataset_folder import Row
from data_prep.decisions import Decisions
from data_prep.one_recording import State
from data_prep.overview.verdict import Verdict
from data_prep.ownership.rights_questions import Question
from data_prep.sound.recording import SAMPLE_RATE
from data_prep.split import LEFT_OUT, TRAIN, VALIDATION


@dataclass(frozen=True)
class RecordingReport:
    """One recording that was used.

    `tempo` is `{bpm, source, confidence, candidates, followed}` or None; `gates` is gate -> sentence; `rests` are
    stretches that no slice covers: (start, end) in seconds, and why.
    """

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
    downbeat_source: str
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
    verdict: Verdict
    questions: list[Question] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    changed: bool = True

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def build_report(
    dataset: Path,
    rows: list[Row],
    verdict: Verdict,
    used: dict[str, State],
    left_out: list[LeftOut],
    copies: list[list[str]],
    decisions: Decisions,
    changed: bool,
    fresh: set[str],
    questions: list[Question],
) -> Report:
    """The report on a dataset that now has the manifest `rows`.

    `verdict` says whether it is enough; `used` is name -> state of the recordings in it, `fresh` the names of those
    prepared in this run, `copies` groups of PCM hashes, `decisions` what people had decided and what was there before,
    `questions` about rights.
    """
    taken = [row for row in rows if row["split"] != LEFT_OUT]
    minutes = sum(row["seconds"] for row in taken) / 60
    counts = {place: sum(row["split"] == place for row in rows) for place in (TRAIN, VALIDATION)}
    name_of = {state["pcm_sha256"]: name for name, state in used.items()}
    rows_of: dict[str, list[Row]] = {name: [] for name in used}
    for row in rows:
        rows_of[row["recording"]].append(row)
    return Report(
        dataset=str(dataset),
        recordings=[
            _recording_report(name, state, rows_of[name], name in fresh) for name, state in used.items()
        ],
        left_out=left_out,
        slices=len(rows),
        train_slices=counts[TRAIN],
        validation_slices=counts[VALIDATION],
        minutes=round(minutes, 2),
        copies=[sorted(name_of[pcm] for pcm in group) for group in copies if len(group) > 1],
        removed=sorted({row["recording"] for row in decisions.before} - set(used)),
        edited_captions=decisions.edited,
        verdict=verdict,
        questions=questions,
        warnings=_kept(used, decisions),
        changed=changed,
    )


def _kept(used: dict[str, State], decisions: Decisions) -> list[str]:
    """What reviewed slices stood in the way of, and those that are gone."""
    sentences = []
    if dropped := sum(decisions.dropped(state) for state in used.values()):
        reviewed = sum(len(decisions.rows_of(state)) for state in used.values())
        sentences.append(
            f"{_slices(reviewed, 'reviewed slice')} stay as they are; {_slices(dropped, 'new slice')} in their place "
            "are not taken."
        )
    for name, state in used.items():
        if state["fault"]:
            sentences.append(f"{name} has its reviewed slices and no new ones: {state['fault']['reason']}.")
    if away := len(decisions.away(used.values())):
        sentences.append(
            f"{_slices(away, 'reviewed slice')} went with their recordings, and come back with them."
        )
    return sentences


def _slices(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _recording_report(name: str, state: State, mine: list[Row], done_now: bool) -> RecordingReport:
    return RecordingReport(
        recording=name,
        split=next((row["split"] for row in mine if row["split"] != LEFT_OUT), LEFT_OUT),
        slices=len(mine),
        seconds=state["seconds"],
        source_rate=state["source_rate"],
        channels=state["channels"],
        gain_db=state["gain_db"],
        hits=state["hits"],
        tempo=state["tempo"],
        metre=state["metre"],
        downbeat_source=state["downbeat_source"],
        downbeat_confidence=state["downbeat_confidence"],
        gates=state["gates"],
        warnings=state["warnings"],
        rests=[
            (round(start / SAMPLE_RATE, 3), round(end / SAMPLE_RATE, 3), why)
            for start, end, why in state["rests"]
        ],
        done_now=done_now,
    )
