"""Preparation against truth: onsets, tempo, bars and lengths of slices; librosa's defaults beside them."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from data_prep.rhythm.music import Music, hear
from data_prep.settings import Settings
from data_prep.slicing.cuts import cut_up
from data_prep.slicing.slices import PRE_ROLL, Slicing
from data_prep.sound.recording import SAMPLE_RATE
from data_prep.sound.tags import Tags
from finetune.bench.figures import Figure, Grid, Part
from finetune.bench.truth import Known, grooves, read_known
from finetune.evaluation.matching import Matching, match
from finetune.progress import progress_bar

NEAR, WIDE = 0.010, 0.025
RANGE = (0.8, 1.25)
"""The range that a user gives, beside the true tempo."""
EXACT = 0.005
OCTAVES = (1.0, 2.0, 0.5)
METRES = {4.0: "4/4", 3.5: "7/8", 3.0: "3/4", 5.0: "5/4"}


@dataclass(frozen=True)
class Heard:
    """What was found in one recording. Onset matchings at 10 and 25 ms, None without truth; `bias_ms` is how late
    found onsets are on average; `bars_ms` how far the farthest bar is from its downbeat; `lengths_exact`: every
    slice has the samples that its bars last."""

    name: str
    kind: str
    seconds: float
    bpm: float
    near: Matching | None
    wide: Matching | None
    offsets_ms: tuple[float, ...]
    bpm_in_range: float | None
    bpm_without: float | None
    bars_ms: float | None
    lengths_exact: bool
    core_seconds: float
    librosa_near: Matching | None
    librosa_wide: Matching | None
    librosa_bpm: float

    @property
    def bias_ms(self) -> float:
        return float(np.mean(self.offsets_ms)) if self.offsets_ms else 0.0


def benchmark(recordings: Path, each: int, seed: int) -> Part:
    """The part `prep`: takes and loops of `recordings`, and `each` grooves of each player in each room."""
    known = read_known(recordings) + grooves(recordings / "one_shots", each, seed)
    heard = []
    with progress_bar("Preparation", len(known)) as report:
        for number, one in enumerate(known):
            heard.append(listen(one))
            report(number + 1, one.name)
    return Part(
        name="prep",
        title="Onsets, tempo, bars and slices",
        figures=figures(heard),
        notes=NOTES,
        grids=[_grid(heard)],
        details={"recordings": [asdict(one) | {"bias_ms": one.bias_ms} for one in heard]},
    )


NOTES = [
    "Onsets are paired one to one; hits within 30 ms of each other are one onset. Bias: how late onsets paired within "
    "25 ms are. A tempo is right within 0.5 %; octave: or its double or half. The range is from 0.8 to 1.25 of the "
    "true tempo. Bars: the farthest from its downbeat, when the first downbeat is given; of a drifting take without "
    "the end of the last bar, where nothing is played. librosa: onset_detect and beat_track as they are by default.",
    "Grooves are built from one_shots/ by two players with tempi, swing and hands of their own: as played, in noise "
    "45 dB below the peak, in halls, at -43 dBFS on 16 bits, and with a tempo that drifts by up to 4 %.",
]


def listen(known: Known) -> Heard:
    """Hear and cut one recording as `prep` does, with the range and the first downbeat, and without."""
    metre = METRES.get(known.beats_per_bar)
    downbeat = known.downbeats[0] if known.downbeats else None
    bounds = (known.bpm * RANGE[0], known.bpm * RANGE[1])
    settings = Settings(Slicing.bars, bars=1, bpm_range=bounds, metre=metre, downbeat=downbeat)
    begun = time.process_time()
    music = hear(known.samples, Tags(), settings)
    core_seconds = time.process_time() - begun
    without = hear(known.samples, Tags(), Settings())
    found = [onset.sample / SAMPLE_RATE for onset in music.onsets]
    librosa_onsets, librosa_bpm = _librosa(known.samples)
    near, wide = _matchings(known.onsets, found)
    librosa_near, librosa_wide = _matchings(known.onsets, librosa_onsets)
    return Heard(
        known.name,
        known.kind,
        known.seconds,
        known.bpm,
        near,
        wide,
        _offsets(known.onsets, found),
        music.tempo.bpm if music.tempo else None,
        without.tempo.bpm if without.tempo else None,
        _bars_off(known, music),
        _lengths_exact(known, music, settings),
        core_seconds,
        librosa_near,
        librosa_wide,
        librosa_bpm,
    )


def figures(heard: list[Heard]) -> list[Figure]:
    """Pooled over the takes, the grooves, and takes and loops together."""
    takes, loops, others, drifting = (
        [one for one in heard if one.kind == kind] for kind in ("takes", "loops", "grooves", "drifting")
    )
    tempi = takes + loops
    return [
        *_onset_figures("takes", takes, 0.97),
        *_onset_figures("other grooves", others, 0.92),
        Figure("tempo right, takes and loops, range given", _share(tempi, "bpm_in_range"), "%", at_least=100),
        Figure("without a range", _share(tempi, "bpm_without"), "%", at_least=75),
        Figure("or its octave", _share(tempi, "bpm_without", OCTAVES), "%", at_least=100),
        Figure("by librosa's beat_track", _share(tempi, "librosa_bpm"), "%"),
        Figure("by librosa, or its octave", _share(tempi, "librosa_bpm", OCTAVES), "%"),
        Figure("tempo right, other grooves, range given", _share(others, "bpm_in_range"), "%"),
        Figure("other grooves, without a range", _share(others, "bpm_without"), "%"),
        Figure("other grooves, or its octave", _share(others, "bpm_without", OCTAVES), "%"),
        Figure("bars from their downbeat at most, takes", _worst_bar(takes), "ms", at_most=10),
        Figure("the same, other grooves", _worst_bar(others), "ms"),
        Figure("the same, tempo drifting by 4 %", _worst_bar(drifting), "ms"),
        Figure(
            "slices of exactly their bars, takes",
            100 * float(np.mean([one.lengths_exact for one in takes])),
            "%",
            at_least=100,
        ),
        Figure(
            "core-seconds for a second of sound",
            sum(one.core_seconds for one in heard) / sum(one.seconds for one in heard),
            at_most=0.03,
        ),
    ]


def _onset_figures(name: str, heard: list[Heard], wanted: float) -> list[Figure]:
    near, wide = (_pool(getattr(one, at) for one in heard) for at in ("near", "wide"))
    late = [late for one in heard for late in one.offsets_ms]
    worst = min((one.near.f for one in heard if one.near), default=0.0)
    return [
        Figure(f"onset F at 10 ms, {name}", near.f, at_least=wanted),
        Figure("precision", near.precision),
        Figure("recall", near.recall),
        Figure("the worst recording", worst),
        Figure("onset F at 25 ms", wide.f),
        Figure("bias, early or late", abs(float(np.mean(late))) if late else 0.0, "ms", at_most=1),
        Figure("F at 10 ms by librosa", _pool(one.librosa_near for one in heard).f),
        Figure("F at 25 ms by librosa", _pool(one.librosa_wide for one in heard).f),
    ]


def _matchings(truth: tuple[float, ...], found: list[float]) -> tuple[Matching, Matching] | tuple[None, None]:
    return (match(truth, found, NEAR), match(truth, found, WIDE)) if truth else (None, None)


def _offsets(truth: tuple[float, ...], found: list[float]) -> tuple[float, ...]:
    """How late each found onset is that has a true one within 25 ms, in ms."""
    there = np.array(truth)
    late = [onset - there[np.argmin(np.abs(there - onset))] for onset in found] if truth else []
    return tuple(round(1000 * float(each), 3) for each in late if abs(each) <= WIDE)


def _bars_off(known: Known, music: Music) -> float | None:
    """How far the farthest bar line is from its downbeat, in ms; None without truth or bars."""
    if not known.downbeats:
        return None
    if not music.sections:
        return float("inf")
    beats = music.sections[0].beats
    downbeats = known.downbeats if known.steady else known.downbeats[:-1]
    lines = [beats.at(number * known.beats_per_bar) / SAMPLE_RATE for number in range(len(downbeats))]
    return 1000 * float(np.abs(np.array(lines) - downbeats).max())


def _lengths_exact(known: Known, music: Music, settings: Settings) -> bool:
    """Whether every slice of one bar has the samples that the bar lasts at its tempo, or, where the player is
    followed, reaches from its bar line to the next."""
    if not music.tempo or not music.sections:
        return False
    spans, _ = cut_up(known.samples, music, (), settings)
    bar = music.metre.quarter_notes
    beats = music.sections[0].beats
    if beats.steady:
        wanted = {round(bar * 60 / music.sections[0].bpm * SAMPLE_RATE)}
        return bool(spans) and {span.end - span.start for span in spans} == wanted
    lines = {round(beats.at(number * bar) - PRE_ROLL) for number in range(int(len(beats.places) / bar) + 1)}
    return bool(spans) and all({span.start, span.end} <= lines for span in spans)


def _librosa(samples: np.ndarray) -> tuple[list[float], float]:
    """Onsets in seconds and the tempo, by its defaults."""
    import librosa

    mono = samples.mean(axis=0)
    onsets = librosa.onset.onset_detect(y=mono, sr=SAMPLE_RATE, units="time")
    tempo, _ = librosa.beat.beat_track(y=mono, sr=SAMPLE_RATE)
    return [float(onset) for onset in onsets], float(np.atleast_1d(tempo)[0])


def _pool(matchings) -> Matching:
    return sum((each for each in matchings if each), Matching(0, 0, 0))


def _share(heard: list[Heard], which: str, octaves: tuple[float, ...] = (1.0,)) -> float:
    """Percent whose tempo is right within 0.5 %, times one of `octaves`."""
    return 100 * float(np.mean([_right(getattr(one, which), one.bpm, octaves) for one in heard]))


def _right(found: float | None, bpm: float, octaves: tuple[float, ...]) -> bool:
    return found is not None and any(abs(found / (bpm * octave) - 1) <= EXACT for octave in octaves)


def _worst_bar(heard: list[Heard]) -> float:
    return max((one.bars_ms for one in heard if one.bars_ms is not None), default=0.0)


def _grid(heard: list[Heard]) -> Grid:
    head = [
        "recording",
        "F 10 ms",
        "precision",
        "recall",
        "F 25 ms",
        "bias, ms",
        "BPM",
        "range",
        "alone",
        "bars, ms",
    ]
    head += ["librosa F 10 ms", "F 25 ms", "BPM"]
    rows = []
    for one in heard:
        onsets = ["", "", "", "", ""]
        if one.near and one.wide:
            onsets = [
                f"{value:.3f}" for value in (one.near.f, one.near.precision, one.near.recall, one.wide.f)
            ]
            onsets.append(f"{one.bias_ms:+.2f}")
        tempi = [f"{bpm:.2f}" if bpm else "none" for bpm in (one.bpm, one.bpm_in_range, one.bpm_without)]
        bars = "" if one.bars_ms is None else f"{one.bars_ms:.1f}"
        beside = [f"{each.f:.3f}" if each else "" for each in (one.librosa_near, one.librosa_wide)]
        rows.append([one.name, *onsets, *tempi, bars, *beside, f"{one.librosa_bpm:.1f}"])
    return Grid("Each recording", head, rows)
