"""Which pieces of a kit are played: kick, snare, hi-hat, tom, cymbal, hand percussion.

Small neural networks of our own on the features of kit_features.py: one set for hits that stand alone, one for hits in
music, where several pieces can sound at once. They were trained by `python -m data_prep.heard.kit_training` on the
sounds listed in kit_pieces.json; what they are not sure of is not claimed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np

from data_prep.fact import fact
from data_prep.heard.kit_features import (
    FEATURES_VERSION,
    features_alone,
    features_in_music,
    start_of_hit,
    treble_share,
)
from data_prep.rhythm.onsets import Onset

PIECES = ("kick", "snare", "hat", "tom", "cymbal", "hand percussion")
IN_CAPTIONS = {"hat": "hi-hat"}
KIT = ("kick", "snare", "hat", "tom", "cymbal")
SURE_ALONE = np.array([0.75, 0.6, 0.7, 0.8, 0.7, 0.7])
SURE_IN_MUSIC = np.array([0.9, 0.9, 0.9, 0.8, 0.8, 0.95])
"""Below these, for a lone hit and for each piece in music, no claim. Where nine in ten claims are right, or as near as
they come, on kits that were not trained on."""
SHAKEN = PIECES.index("hand percussion")
ALL_TREBLE = 0.85
"""A hit with more of its power than this from 4 kHz up is not claimed to be hand percussion: shakers and hats are too
alike."""
REACH = 4.0
CLEAREST = 3
"""A piece is heard in music by its clearest hits, so many."""
PLAYED = 0.5
WEIGHTS, ABOUT = "kit_pieces.safetensors", "kit_pieces.json"


@dataclass(frozen=True)
class Network:
    """Standardise, one layer of rectified units, one of outputs: `hidden` (members, features, units), `out` (members,
    units, outputs); the members of an ensemble are asked together."""

    centre: np.ndarray
    scale: np.ndarray
    hidden: np.ndarray
    hidden_bias: np.ndarray
    out: np.ndarray
    out_bias: np.ndarray

    def logits(self, features: np.ndarray, reach: float = np.inf) -> np.ndarray:
        """(members, items, outputs) for (items, features), of which none counts for more than `reach` deviations."""
        standard = np.clip((features - self.centre) / self.scale, -reach, reach)
        units = np.maximum(0, standard @ self.hidden + self.hidden_bias[:, None])
        return units @ self.out + self.out_bias[:, None]


@dataclass(frozen=True)
class Ear:
    """Both networks. The one for lone hits tells sounds apart (a closed hat from an open one); `is_piece` (sounds,
    pieces and none of them) is 1 for what a sound is. `temperature` makes its confidence honest; `slope` and `offset`,
    per piece, do that for a clip of music."""

    alone: Network
    is_piece: np.ndarray
    in_music: Network
    temperature: float
    slope: np.ndarray
    offset: np.ndarray

    def lone_hit(self, samples: np.ndarray) -> tuple[dict[str, float], list[str]]:
        """How likely each piece is for the hit in (2, samples), and which of them are sure."""
        features = features_alone(samples, start_of_hit(samples))[None]
        shares = self.lone_hits(features)
        sure = claims_alone(shares, features)[0]
        likely = dict(zip(PIECES, shares[0].tolist(), strict=False))
        return likely, [piece for piece, claimed in zip(PIECES, sure, strict=True) if claimed]

    def lone_hits(self, features: np.ndarray) -> np.ndarray:
        """(items, pieces and none of them), each row with the sum 1."""
        sounds = softmax(self.alone.logits(features, REACH)).mean(axis=0)
        shares = (sounds @ self.is_piece) ** (1 / self.temperature)
        return shares / shares.sum(axis=1, keepdims=True)

    def hits(self, samples: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """(hits, pieces) log odds that a piece is struck, for the hits at `starts` of (2, samples)."""
        return self.in_music.logits(features_in_music(samples, starts)).mean(axis=0)

    def clip(self, log_odds: np.ndarray) -> np.ndarray:
        """(pieces,) how likely each piece is played in a clip with these hits."""
        return 1 / (1 + np.exp(-(self.slope * clearest(log_odds) + self.offset)))


def claims_alone(shares: np.ndarray, features: np.ndarray) -> np.ndarray:
    """(items, pieces) which pieces are sure enough to be named, of the lone hits with these shares and features."""
    sure = shares[:, : len(PIECES)] >= SURE_ALONE
    sure[treble_share(features) > ALL_TREBLE, SHAKEN] = False
    return sure


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


def clearest(log_odds: np.ndarray) -> np.ndarray:
    """(pieces,) the mean of the clearest hits of each piece."""
    return np.sort(log_odds, axis=0)[-CLEAREST:].mean(axis=0)


@lru_cache(maxsize=1)
def shipped_ear() -> Ear:
    """The ear in the package; RuntimeError where its weights are of other features."""
    from safetensors.numpy import load

    about = json.loads((files("data_prep.heard") / ABOUT).read_text("utf-8"))
    return ear_from(load((files("data_prep.heard") / WEIGHTS).read_bytes()), about)


def ear_from(weights: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Ear:
    if about["features_version"] != FEATURES_VERSION:
        raise RuntimeError(
            "kit_pieces.safetensors is of other features; run python -m data_prep.heard.kit_training."
        )
    names = Network.__dataclass_fields__
    alone, in_music = (
        Network(*(weights[f"{which}.{name}"] for name in names)) for which in ("alone", "in_music")
    )
    return Ear(
        alone,
        pieces_of(list(about["sounds"].values())),
        in_music,
        about["temperature"],
        weights["slope"],
        weights["offset"],
    )


def pieces_of(pieces: list[str | None]) -> np.ndarray:
    """(sounds, pieces and none of them): 1 where the sound is that piece."""
    found = np.zeros((len(pieces), len(PIECES) + 1))
    for sound, piece in enumerate(pieces):
        found[sound, PIECES.index(piece) if piece else len(PIECES)] = 1
    return found


def heard_pieces(samples: np.ndarray, onsets: list[Onset], one_shot: bool) -> dict[str, dict[str, Any]]:
    """Facts `pieces`, `kit_mix` (hits of each piece) and `instruments` of a slice (2, samples), as far as they are
    sure."""
    ear = shipped_ear()
    if one_shot:
        shares, sure_of = ear.lone_hit(samples)
        likely = {piece: shares[piece] for piece in sure_of}
        return _facts(likely, {}) if likely and samples.any() else {}
    if not onsets:
        return {}
    log_odds = ear.hits(samples, np.array([onset.sample for onset in onsets]))
    played = ear.clip(log_odds)
    counts = (1 / (1 + np.exp(-log_odds)) >= PLAYED).sum(axis=0)
    claimed = (played >= SURE_IN_MUSIC) & (counts > 0)
    sure = {piece: float(played[index]) for index, piece in enumerate(PIECES) if claimed[index]}
    return _facts(sure, dict(zip(PIECES, counts.tolist(), strict=True)))


def _facts(sure: dict[str, float], counts: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Pieces most played first; a kit where a piece of it is sure and no hand percussion is, and the other way."""
    if not sure:
        return {}
    order = sorted(sure, key=lambda piece: -counts.get(piece, 0))
    confidence = round(min(sure.values()), 2)
    facts = {"pieces": fact([IN_CAPTIONS.get(piece, piece) for piece in order], "measurement", confidence)}
    if counts:
        facts["kit_mix"] = fact(
            {IN_CAPTIONS.get(piece, piece): counts[piece] for piece in order}, "measurement", confidence
        )
    if all(piece in KIT for piece in order):
        facts["instruments"] = fact("Drum Kit", "measurement", confidence)
    elif not any(piece in KIT for piece in order):
        facts["instruments"] = fact("Percussion", "measurement", confidence)
    return facts
