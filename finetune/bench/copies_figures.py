"""What the search for near copies came to: shares found, false alarms, and tables of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from finetune.bench.figures import Figure, Grid
from finetune.bench.planting import ALTERED, VERBATIM
from finetune.bench.players import STROKES, TAKE
from finetune.evaluation.results import Copy

DECODED = "through the autoencoder"


@dataclass(frozen=True)
class Trial:
    """A sound of known origin and what was said of it. `planted` is the clip that it copies, None for none."""

    player: str
    kind: str
    planted: str | None
    found: Copy


def figures(trials: Sequence[Trial]) -> list[Figure]:
    """Verbatim copies found as such, with the right clip; false alarms; altered copies found by either verdict."""
    bars = [each for each in trials if each.player != STROKES]
    short = [each for each in trials if each.player == STROKES]
    negatives = [each for each in trials if each.planted is None]
    verbatim = [each for each in bars if each.kind in VERBATIM]
    altered = [each for each in bars if each.kind in ALTERED]
    decoded = [each for each in bars if each.kind == DECODED]
    return [
        Figure("verbatim copies found", _share(verbatim, _as_verbatim), "%", at_least=98),
        Figure("with the right clip named", _share(verbatim, _right), "%", at_least=98),
        Figure(
            "verbatim copies through the autoencoder found", _share(decoded, _as_verbatim), "%", at_least=98
        ),
        Figure("false alarms: said to be verbatim", _share(negatives, _as_verbatim), "%", at_most=0),
        Figure("sounds that copy nothing", len(negatives)),
        Figure("single strokes copied, found", _share([e for e in short if e.planted], _as_verbatim), "%"),
        Figure("stretched and pitched copies found", _share(altered, _as_any), "%"),
        Figure("of players who hold out other grooves", _share(_of(altered, False), _as_any), "%"),
        Figure("of players who hold out the same groove", _share(_of(altered, True), _as_any), "%"),
        Figure(
            "their clip is the nearest", _share(altered, lambda trial: trial.found.clip == trial.planted), "%"
        ),
        Figure(
            "same groove said of other players",
            _share([each for each in negatives if each.kind == "other players"], _as_any),
            "%",
        ),
    ]


def _as_verbatim(trial: Trial) -> bool:
    return trial.found.verdict == "verbatim"


def _as_any(trial: Trial) -> bool:
    return trial.found.verdict != "new"


def _right(trial: Trial) -> bool:
    return _as_verbatim(trial) and trial.found.clip == trial.planted


def _of(trials: Sequence[Trial], repeating: bool) -> list[Trial]:
    return [each for each in trials if each.player.startswith(TAKE) == repeating]


def _share(trials: Sequence[Trial], holds: Callable[[Trial], bool]) -> float:
    return 100 * float(np.mean([holds(each) for each in trials])) if trials else float("nan")


def kinds(trials: Sequence[Trial]) -> Grid:
    """Of each kind of sound: how many, what was said, and the likenesses."""
    head = [
        "sound",
        "number",
        "verbatim",
        "same groove",
        "right clip",
        "waveform",
        "lowest",
        "highest",
        "log-mel",
    ]
    named = list(dict.fromkeys((each.player == STROKES, each.kind) for each in trials))
    rows = []
    for short, kind in named:
        some = [each for each in trials if each.kind == kind and (each.player == STROKES) == short]
        waveform = [each.found.waveform for each in some]
        rows.append([
            f"stroke, {kind}" if short else kind,
            str(len(some)),
            f"{_share(some, _as_verbatim):.0f} %",
            f"{_share(some, _as_any) - _share(some, _as_verbatim):.0f} %",
            "" if some[0].planted is None else f"{_share(some, lambda t: t.found.clip == t.planted):.0f} %",
            f"{np.median(waveform):.2f}",
            f"{min(waveform):.2f}",
            f"{max(waveform):.2f}",
            f"{np.median([each.found.spectrogram for each in some]):.2f}",
        ])  # fmt: skip
    return Grid("What was said", head, rows)


def players_of(trials: Sequence[Trial]) -> Grid:
    """Of each player: what was found, and how near playing that copies nothing comes."""
    head = [
        "player",
        "verbatim found",
        "altered found",
        "false alarms",
        "nearest that is no copy: waveform",
        "log-mel",
    ]
    rows = []
    for name in dict.fromkeys(each.player for each in trials):
        some = [each for each in trials if each.player == name]
        negatives = [each for each in some if each.planted is None]
        rows.append([
            name,
            f"{_share([each for each in some if each.kind in VERBATIM], _as_verbatim):.0f} %",
            f"{_share([each for each in some if each.kind in ALTERED], _as_any):.0f} %",
            str(sum(map(_as_verbatim, negatives))),
            f"{max(each.found.waveform for each in negatives):.2f}",
            f"{max(each.found.spectrogram for each in negatives):.2f}",
        ])  # fmt: skip
    return Grid("Players", head, rows)
