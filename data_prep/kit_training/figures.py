"""How good the ear is: on kits it never heard, on hits, on grooves, and how honest its confidence is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from data_prep.kit_pieces import PIECES, SURE_ALONE, SURE_IN_MUSIC, Ear
from data_prep.kit_training.fitting import GROOVES as GROOVES_TRAINED
from data_prep.kit_training.fitting import Lone, fit_networks, without
from data_prep.kit_training.grooves import play
from data_prep.kit_training.sources import Hit

GROOVES = 60
SEED = 9_000_000
STEPS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def judges_of(ear: Ear, hits: list[Hit], lone: Lone) -> dict[str, Ear]:
    """For every kit in `hits`, which are all trained on, an ear that never heard it; how it makes confidence honest,
    fourteen numbers, it has from `ear`."""
    judges = {}
    for kit in dict.fromkeys(hit.kit for hit in hits):
        others = [hit for hit in hits if hit.kit != kit]
        judges[kit] = fit_networks(others, without(lone, kit), GROOVES_TRAINED, like=ear)
    return judges


def on_kits_not_heard(judge_of: Callable[[str], Ear], hits: list[Hit], lone: Lone) -> dict[str, Any]:
    """Every kit heard by the judge that never heard it."""
    shares, truth, kits, grooves = [], [], [], {}
    for kit in dict.fromkeys(hit.kit for hit in hits):
        those = (lone.kits == kit) & lone.untouched & (lone.pieces < len(PIECES))
        judge = judge_of(kit)
        shares.append(judge.lone_hits(lone.features[those])[:, : len(PIECES)])
        truth.append(lone.pieces[those])
        kits += [kit] * int(those.sum())
        grooves[kit] = heard_grooves(judge, [hit for hit in hits if hit.kit == kit])
    return {
        "hits": lone_figures(np.concatenate(shares), np.concatenate(truth), np.array(kits)),
        "grooves": groove_figures(grooves),
    }


def lone_figures(shares: np.ndarray, truth: np.ndarray, kits: np.ndarray) -> dict[str, Any]:
    """Forced choices and claims: `accuracy` if the ear had to name a piece, `claims` of those it is sure of."""
    chosen, confidence = shares.argmax(axis=1), shares.max(axis=1)
    right, sure = chosen == truth, confidence >= SURE_ALONE
    return {
        "files": len(truth),
        "accuracy": _share(right),
        "claimed": _share(sure),
        "claims_right": _share(right[sure]),
        "pieces": {
            piece: {
                "files": int((truth == index).sum()),
                "accuracy": _share(right[truth == index]),
                "claimed": _share(sure[truth == index]),
                "claims_right": _share(right[sure & (chosen == index)]),
                "called": dict(Counter(PIECES[each] for each in chosen[truth == index])),
            }
            for index, piece in enumerate(PIECES)
        },
        "kits": {
            str(kit): {
                "files": int((kits == kit).sum()),
                "accuracy": _share(right[kits == kit]),
                "claimed": _share(sure[kits == kit]),
                "claims_right": _share(right[sure & (kits == kit)]),
            }
            for kit in dict.fromkeys(kits)
        },
        "reliability": [
            {"from": low, "to": high, "files": int(inside.sum()), "right": _share(right[inside])}
            for low, high in pairwise(STEPS)
            if (inside := (confidence >= low) & (confidence < high + (high == 1))).any()
        ],
    }


def heard_grooves(ear: Ear, hits: list[Hit]) -> list[tuple[np.ndarray, np.ndarray]]:
    """(how likely each piece is, whether it plays) for grooves on the sounds of `hits`."""
    played = [play(hits, SEED + seed) for seed in range(GROOVES)]
    return [
        (ear.clip(ear.hits(each.samples, each.starts)), np.any(each.played, axis=0, keepdims=True)[0])
        for each in played
        if len(each.starts)
    ]


def groove_figures(grooves: dict[str, list[tuple[np.ndarray, np.ndarray]]]) -> dict[str, Any]:
    """Claims about clips of music: how many are right, and how many of the pieces that play are claimed."""
    clips = [each for heard in grooves.values() for each in heard]
    shares, played = (np.array(each) for each in zip(*clips, strict=True))
    claims = shares >= SURE_IN_MUSIC
    return {
        "clips": len(clips),
        "precision": _share(played[claims]),
        "recall": _share(claims[played]),
        "pieces": {
            piece: {
                "precision": _share(played[:, index][claims[:, index]]),
                "recall": _share(claims[:, index][played[:, index]]),
            }
            for index, piece in enumerate(PIECES)
        },
        "kits": {kit: _kit(heard) for kit, heard in grooves.items() if heard},
    }


def _kit(heard: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float | None]:
    shares, played = (np.array(each) for each in zip(*heard, strict=True))
    claims = shares >= SURE_IN_MUSIC
    return {"precision": _share(played[claims]), "recall": _share(claims[played])}


def _share(values: np.ndarray) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None
