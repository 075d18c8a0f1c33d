"""Asked for against got: tempo, swing, density and kit mix of what is played for a clip's caption.

What is asked is what `woodshed prep` knows of the clip that the caption is of; what came is what prep hears in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from data_prep.captioning.captions import swing_word
from data_prep.heard.descriptors import swing
from data_prep.heard.kit_pieces import heard_pieces
from data_prep.rhythm.onsets import detect
from data_prep.rhythm.tempo import find_tempo
from data_prep.sound.recording import SAMPLE_RATE
from finetune.evaluation.results import Asked

TEMPO_WITHIN = 0.04
DENSITY_WITHIN = 1.33
KIT_FROM = 0.5
OCTAVES = (1.0, 2.0, 0.5)
HOW = {
    "tempo": "within 4 % of the tempo asked for, its double or its half",
    "swing": "swung where that was asked for, and not where it was not",
    "density": "hits a second within a third of the clip's whose caption it is",
    "kit mix": "at least half of the pieces asked for and heard, together, are the same",
}


@dataclass(frozen=True)
class Played:
    """What prep hears in a sound: `bpm` and `swing` None where there is none; `pieces` empty where it is not sure."""

    bpm: float | None
    swing: float | None
    hits_per_second: float
    pieces: frozenset[str]


def listen(sound: np.ndarray, bpm: float | None = None) -> Played:
    """Of a (2, samples) sound at 44.1 kHz. Swing is told at the tempo `bpm`, where one was asked for."""
    onsets, envelope = detect(sound)
    seconds = sound.shape[1] / SAMPLE_RATE
    tempo, _ = find_tempo(onsets, envelope, seconds)
    beat = bpm or (tempo.bpm if tempo else None)
    swung = swing(onsets, beat, float(onsets[0].sample)) if beat and onsets else None
    pieces = heard_pieces(sound, onsets, len(onsets) < 2).get("pieces", {}).get("value", [])
    return Played(
        tempo.bpm if tempo else None,
        swung["value"] if swung else None,
        len(onsets) / seconds,
        frozenset(pieces),
    )


def asked_and_got(
    facts: Sequence[Mapping[str, Any]], base: Sequence[np.ndarray], adapted: Sequence[np.ndarray]
) -> list[Asked]:
    """Shares that came as asked, of what was asked at all. `facts` are of the clip whose caption each sound was asked
    by; sounds are (2, samples) at 44.1 kHz."""
    heard = [
        [listen(sound, fact.get("tempo")) for sound, fact in zip(sounds, facts, strict=True)]
        for sounds in (base, adapted)
    ]
    found = []
    for what, judge in JUDGES.items():
        judged = [
            [right for fact, each in zip(facts, of, strict=True) if (right := judge(fact, each)) is not None]
            for of in heard
        ]
        if judged[0]:
            before, after = (float(np.mean(each)) for each in judged)
            found.append(Asked(what, len(judged[0]), before, after, HOW[what]))
    return found


def right_tempo(fact: Mapping[str, Any], played: Played) -> bool | None:
    wanted = fact.get("tempo")
    if not wanted:
        return None
    return played.bpm is not None and any(
        abs(played.bpm / (wanted * octave) - 1) <= TEMPO_WITHIN for octave in OCTAVES
    )


def right_swing(fact: Mapping[str, Any], played: Played) -> bool | None:
    if not fact.get("tempo") or not fact.get("swing"):
        return None
    return (swing_word(fact["swing"]) == "swung") == (played.swing is not None)


def right_density(fact: Mapping[str, Any], played: Played) -> bool | None:
    wanted = fact.get("hits_per_second")
    if not wanted:
        return None
    return 1 / DENSITY_WITHIN <= played.hits_per_second / wanted <= DENSITY_WITHIN


def right_kit(fact: Mapping[str, Any], played: Played) -> bool | None:
    wanted = frozenset(fact.get("pieces") or ())
    if not wanted:
        return None
    return len(wanted & played.pieces) >= KIT_FROM * len(wanted | played.pieces)


JUDGES: dict[str, Callable[[Mapping[str, Any], Played], bool | None]] = {
    "tempo": right_tempo,
    "swing": right_swing,
    "density": right_density,
    "kit mix": right_kit,
}
