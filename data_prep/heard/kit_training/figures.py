"""How good the ear is: on kits it never heard, on hits, on grooves, and how honest its confidence is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from data_prep.heard.kit_pieces import PIECES, SURE_IN_MUSIC, Ear, claims_alone
from data_prep.heard.kit_training.fitting import GROOVES as GROOVES_TRAINED
from data_prep.heard.kit_training.fitting import Lone, fit_alone, fit_in_music
from data_prep.heard.kit_training.grooves import play
from data_prep.heard.kit_training.kits import KITS, PLAY_GROOVES
from data_prep.heard.kit_training.sources import Hit

GROOVES = 60
SEED = 9_000_000
STEPS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def judges_of(ear: Ear, hits: list[Hit], lone: Lone) -> dict[str, Ear]:
    """For every kit in `hits`, which are all trained on, an ear that never heard it; how it makes confidence honest,
    fourteen numbers, it has from `ear`."""
    _, _, left_out = fit_alone(lone)
    judges = {}
    for kit, alone in left_out.items():
        playing = [hit for hit in hits if hit.kit in PLAY_GROOVES and hit.kit != kit]
        heard = kit in PLAY_GROOVES
        in_music = fit_in_music(playing, GROOVES_TRAINED) if heard else ear.in_music
        judges[kit] = replace(ear, alone=alone, in_music=in_music)
    return judges


def on_kits_not_heard(judge_of: Callable[[str], Ear], hits: list[Hit], lone: Lone) -> dict[str, Any]:
    """Every kit heard by the judge that never heard it."""
    return {
        "hits": lone_figures(*lone_heard(judge_of, hits, lone)),
        "grooves": groove_figures(
            {
                kit: heard_grooves(judge_of(kit), [hit for hit in hits if hit.kit == kit])
                for kit in dict.fromkeys(hit.kit for hit in hits)
            }
        ),
    }


def lone_heard(
    judge_of: Callable[[str], Ear], hits: list[Hit], lone: Lone
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(hits, pieces) how likely each is and whether it is claimed, what they are, and their kits, every kit heard by
    its judge."""
    shares, claims, truth, kits = [], [], [], []
    for kit in dict.fromkeys(hit.kit for hit in hits):
        those = (lone.kits == kit) & lone.untouched & (lone.pieces < len(PIECES))
        heard = judge_of(kit).lone_hits(lone.features[those])
        shares.append(heard[:, : len(PIECES)])
        claims.append(claims_alone(heard, lone.features[those]))
        truth.append(lone.pieces[those])
        kits += [kit] * int(those.sum())
    return np.concatenate(shares), np.concatenate(claims), np.concatenate(truth), np.array(kits)


def lone_figures(
    shares: np.ndarray, claims: np.ndarray, truth: np.ndarray, kits: np.ndarray
) -> dict[str, Any]:
    """Forced choices and claims: `accuracy` if the ear had to name a piece, `claims` of those it is sure of."""
    chosen, confidence = shares.argmax(axis=1), shares.max(axis=1)
    right, sure = chosen == truth, claims[np.arange(len(truth)), chosen]
    debian = np.isin(kits, [kit.name for kit in KITS if not kit.package.startswith("https:")])
    return {
        **_of(right, sure, truth >= 0),
        "accuracy_balanced": _balanced(right, truth),
        "debian": _of(right, sure, debian) | {"accuracy_balanced": _balanced(right[debian], truth[debian])},
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
        "kits": {str(kit): _of(right, sure, kits == kit) for kit in dict.fromkeys(kits)},
        "reliability": [
            {"from": low, "to": high, "files": int(inside.sum()), "right": _share(right[inside])}
            for low, high in pairwise(STEPS)
            if (inside := (confidence >= low) & (confidence < high + (high == 1))).any()
        ],
    }


def _of(right: np.ndarray, sure: np.ndarray, those: np.ndarray) -> dict[str, Any]:
    return {
        "files": int(those.sum()),
        "accuracy": _share(right[those]),
        "claimed": _share(sure[those]),
        "claims_right": _share(right[sure & those]),
    }


def _balanced(right: np.ndarray, truth: np.ndarray) -> float | None:
    """The mean of the accuracies of the pieces."""
    return _share(np.array([right[truth == piece].mean() for piece in np.unique(truth)]))


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
