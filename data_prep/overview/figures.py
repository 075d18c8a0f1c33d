"""The figures of a dataset, out of its manifest alone."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from data_prep.dataset import SPLITS
from data_prep.dataset_folder import DatasetFolder, Row
from data_prep.files import PrepError
from data_prep.overview.verdict import Verdict, judge
from data_prep.split import LEFT_OUT

LENGTHS = 0.25, 0.5, 1, 2, 4, 8, 12, 20, 40, 80, 160, 380  # seconds; 380 is the longest that a base makes
BPM_STEP = 10


@dataclass(frozen=True)
class Part:
    """One split."""

    split: str
    slices: int
    minutes: float
    recordings: int


@dataclass(frozen=True)
class Bin:
    """So many slices are called so."""

    label: str
    slices: int


@dataclass(frozen=True)
class Coverage:
    """Of how many slices a field is known, and from where. What is only assumed is not known."""

    field: str
    slices: int
    share: float
    sources: dict[str, int]


@dataclass(frozen=True)
class Problem:
    """A quality gate: how many slices it is about, and the recordings with the sentence of each."""

    gate: str
    slices: int
    recordings: dict[str, str]


@dataclass(frozen=True)
class Captions:
    """`most` slices share the caption `most_common`; `wordings` are all that there are, variants too."""

    different: int
    wordings: int
    most_common: str
    most: int


@dataclass(frozen=True)
class Overview:
    """Slices of `train` and `validation`, but for `parts` and `reviewed`, which count those that are left out too."""

    hours: float
    parts: list[Part]
    lengths: list[Bin]
    tempi: list[Bin]
    kinds: list[Bin]
    kit: list[Bin]
    captions: Captions
    coverage: list[Coverage]
    problems: list[Problem]
    left_out: dict[str, str]
    reviewed: dict[str, int]
    rights: list[dict[str, Any]]
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def look_at(dataset: Path) -> Overview:
    """PrepError, a sentence, for a folder that is no dataset or has a row that is none of ours."""
    folder = DatasetFolder(dataset)
    rows = folder.manifest()
    if not rows:
        raise PrepError(f"{dataset} holds no dataset; make one with `woodshed prep RECORDINGS {dataset}`.")
    recordings = folder.recordings()
    try:
        return overview_of(rows, recordings, folder.rows("rights.jsonl", "rights"))
    except (KeyError, TypeError, AttributeError) as error:
        raise PrepError(f"A row of {dataset} is not as it should be ({error}); run prep again.") from error


def overview_of(rows: list[Row], recordings: list[Row], rights: list[Row]) -> Overview:
    """Of the rows of manifest.jsonl, recordings.jsonl and rights.jsonl."""
    taken = [row for row in rows if row["split"] != LEFT_OUT]
    return Overview(
        hours=round(sum(row["seconds"] for row in taken) / 3600, 4),
        parts=[part for part in (_part(split, rows) for split in SPLITS) if part.slices],
        lengths=_lengths([row["seconds"] for row in taken]),
        tempi=_tempi([_known(row, "tempo") for row in taken]),
        kinds=_counts(_known(row, "kind") or "not known" for row in taken),
        kit=_counts(piece for row in taken for piece in _known(row, "pieces") or ()),
        captions=_captions(taken),
        coverage=_coverage(taken),
        problems=_problems(taken, recordings),
        left_out={row["recording"]: row["left_out"]["reason"] for row in recordings if row["left_out"]},
        reviewed=_reviewed(rows),
        rights=[{**each, "slices": sum(row["rights"] == each["rights"] for row in taken)} for each in rights],
        verdict=judge(rows),
    )


def _part(split: str, rows: list[Row]) -> Part:
    inside = [row for row in rows if row["split"] == split]
    minutes = sum(row["seconds"] for row in inside) / 60
    return Part(split, len(inside), round(minutes, 2), len({row["recording"] for row in inside}))


def _known(row: Row, name: str) -> Any:
    fact = row["fields"].get(name)
    return None if fact is None or fact["source"] == "default" else fact["value"]


def _lengths(seconds: Sequence[float]) -> list[Bin]:
    counts = Counter(bisect_right(LENGTHS, each) for each in seconds)
    labels = [
        f"under {LENGTHS[0]:g} s",
        *(f"{low:g} to {high:g} s" for low, high in pairwise(LENGTHS)),
        f"{LENGTHS[-1]:g} s and more",
    ]
    return _between([counts[number] for number in range(len(labels))], labels)


def _tempi(tempi: Sequence[float | None]) -> list[Bin]:
    counts = Counter(int(bpm // BPM_STEP) for bpm in tempi if bpm is not None)
    steps = range(max(counts, default=0) + 1)
    labels = [f"{step * BPM_STEP} to {(step + 1) * BPM_STEP} BPM" for step in steps]
    unknown = sum(bpm is None for bpm in tempi)
    return [
        *_between([counts[step] for step in steps], labels),
        *([Bin("not known", unknown)] if unknown else []),
    ]


def _between(counts: list[int], labels: list[str]) -> list[Bin]:
    """From the first to the last that is not empty."""
    filled = [number for number, count in enumerate(counts) if count]
    if not filled:
        return []
    return [Bin(labels[number], counts[number]) for number in range(filled[0], filled[-1] + 1)]


def _counts(labels: Iterable[str]) -> list[Bin]:
    return [Bin(label, count) for label, count in Counter(labels).most_common()]


def _captions(rows: list[Row]) -> Captions:
    texts = Counter(row["text"] for row in rows)
    text, most = texts.most_common(1)[0] if texts else ("", 0)
    return Captions(len(texts), len({each for row in rows for each in row["captions"]}), text, most)


def _coverage(rows: list[Row]) -> list[Coverage]:
    sources: dict[str, Counter[str]] = {}
    for row in rows:
        for name, fact in row["fields"].items():
            if fact["source"] != "default":
                sources.setdefault(name, Counter())[fact["source"]] += 1
    return [
        Coverage(name, count.total(), round(count.total() / len(rows), 4), dict(count.most_common()))
        for name, count in sorted(sources.items(), key=lambda item: (-item[1].total(), item[0]))
    ]


def _problems(rows: list[Row], recordings: list[Row]) -> list[Problem]:
    gates = Counter(gate for row in rows for gate in row["quality"])
    said = {
        gate: {row["recording"]: row["gates"][gate] for row in recordings if gate in row.get("gates", {})}
        for gate in {*gates, *(gate for row in recordings for gate in row.get("gates", {}))}
    }
    return [
        Problem(gate, gates[gate], said[gate]) for gate in sorted(said, key=lambda gate: (-gates[gate], gate))
    ]


def _reviewed(rows: list[Row]) -> dict[str, int]:
    words = ("not yet" if not row["reviewed"] else row.get("verdict") or "edited" for row in rows)
    return dict(Counter(words).most_common())
