"""Fitting the ear: networks on varied hits and on grooves, and what makes their confidence honest.

Every piece and every kit counts about the same, however many files it has. Confidence is fitted on hits and grooves of
kits that were left out, one after the other. The same sounds give the same numbers.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from data_prep.heard.kit_features import features_alone, features_in_music, start_of_hit
from data_prep.heard.kit_pieces import PIECES, REACH, Ear, Network, clearest, pieces_of, softmax
from data_prep.heard.kit_training.grooves import play, vary
from data_prep.heard.kit_training.kits import PLAY_GROOVES
from data_prep.heard.kit_training.sources import KIT_PIECES, SOUNDS, Hit

VARIATIONS = 4
MEMBERS = 5
UNITS_ALONE, UNITS_IN_MUSIC = 32, 48
GROOVES, GROOVES_LEFT_OUT = 400, 80
FEWEST_FOR_A_FOLD = 20
"""Kits with fewer hits are not left out to fit the confidence."""


@dataclass(frozen=True)
class Lone:
    """Features of hits and their variations, what they are (index into PIECES; the last is none of them), of which kit,
    and which of them are untouched."""

    features: np.ndarray
    pieces: np.ndarray
    kits: np.ndarray
    sounds: np.ndarray
    untouched: np.ndarray


def describe(hits: Sequence[Hit], variations: int) -> Lone:
    """Of every hit itself and `variations` others that are still the same hit."""
    rows, about = [], []
    for number, hit in enumerate(hits):
        for draw in range(variations + 1):
            sound = vary(hit.samples, np.random.default_rng([number, draw])) if draw else hit.samples
            rows.append(features_alone(sound, start_of_hit(sound)))
            about.append((index_of(hit), hit.kit, hit.sound, not draw))
    pieces, kits, sounds, untouched = (np.array(each) for each in zip(*about, strict=True))
    return Lone(np.array(rows), pieces, kits, sounds, untouched)


def index_of(hit: Hit) -> int:
    piece = KIT_PIECES[hit.sound]
    return PIECES.index(piece) if piece else len(PIECES)


def fit_ear(hits: list[Hit], lone: Lone) -> Ear:
    """The ear that heard these hits, `lone` their description; of three kits or more."""
    alone, temperature, _ = fit_alone(lone)
    playing = [hit for hit in hits if hit.kit in PLAY_GROOVES]
    ear = Ear(
        alone, pieces_of(list(KIT_PIECES.values())), fit_in_music(playing, GROOVES), temperature,
        np.ones(len(PIECES)), np.zeros(len(PIECES)),
    )  # fmt: skip
    return _calibrated_in_music(ear, playing)


def fit_alone(lone: Lone) -> tuple[Network, float, dict[str, Network]]:
    """The network for lone hits, the temperature that makes it honest, and for each kit one that never heard it."""
    left_out = {str(kit): alone_of(without(lone, kit)) for kit in dict.fromkeys(lone.kits)}
    counts = Counter(lone.kits[lone.untouched])
    shares, truth = [], []
    for kit, network in left_out.items():
        if counts[kit] >= FEWEST_FOR_A_FOLD:
            those = (lone.kits == kit) & lone.untouched
            shares.append(softmax(network.logits(lone.features[those], REACH)).mean(axis=0))
            truth.append(lone.pieces[those])
    pieces = np.concatenate(shares) @ pieces_of(list(KIT_PIECES.values()))
    return alone_of(lone), _temperature(pieces, np.concatenate(truth)), left_out


def _calibrated_in_music(ear: Ear, hits: list[Hit]) -> Ear:
    clips, played = [], []
    counts = Counter(hit.kit for hit in hits)
    for number, kit in enumerate(kit for kit, count in counts.items() if count >= FEWEST_FOR_A_FOLD):
        heard = replace(ear, in_music=fit_in_music([hit for hit in hits if hit.kit != kit], GROOVES // 2))
        left = [hit for hit in hits if hit.kit == kit]
        for seed in range(GROOVES_LEFT_OUT):
            groove = play(left, 1_000_000 + 1000 * number + seed)
            if len(groove.starts):
                clips.append(clearest(heard.hits(groove.samples, groove.starts)))
                played.append(groove.played.any(axis=0))
    lines = [_line(np.array(clips)[:, piece], np.array(played)[:, piece]) for piece in range(len(PIECES))]
    return replace(ear, slope=np.array([a for a, _ in lines]), offset=np.array([b for _, b in lines]))


def without(lone: Lone, kit: str) -> Lone:
    """All but the hits of a kit."""
    kept = lone.kits != kit
    return Lone(*(value[kept] for value in vars(lone).values()))


def alone_of(lone: Lone) -> Network:
    """An ensemble, each member on another draw of the same size; sounds are drawn alike, and kits rather alike."""
    sounds, shares = Counter(lone.sounds), Counter(zip(lone.kits, lone.sounds, strict=True))
    weights = np.array(
        [
            1 / sounds[sound] / shares[kit, sound] ** 0.5
            for kit, sound in zip(lone.kits, lone.sounds, strict=True)
        ]
    )
    members, centre, scale = [], lone.features.mean(axis=0), lone.features.std(axis=0) + 1e-6
    standard = np.clip((lone.features - centre) / scale, -REACH, REACH)
    truth = np.array([SOUNDS.index(sound) for sound in lone.sounds])
    for seed in range(MEMBERS):
        rng = np.random.default_rng(seed)
        drawn = rng.choice(len(weights), len(weights), p=weights / weights.sum())
        members.append(_trained(standard[drawn], truth[drawn], UNITS_ALONE, 3.0, 40, seed))
    return _network(centre, scale, members)


def fit_in_music(hits: list[Hit], grooves: int) -> Network:
    played = [play(hits, seed) for seed in range(grooves)]
    features = np.concatenate([features_in_music(each.samples, each.starts) for each in played])
    truth = np.concatenate([each.played for each in played])
    centre, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    return _network(
        centre, scale, [_trained((features - centre) / scale, truth.astype(int), UNITS_IN_MUSIC, 0.3, 25, 0)]
    )


def _trained(
    features: np.ndarray, truth: np.ndarray, units: int, decay: float, rounds: int, seed: int
) -> Any:
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(
        (units,), alpha=decay, max_iter=rounds, random_state=seed, learning_rate_init=2e-3, tol=0.0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is stopped on purpose
        return network.fit(features.astype(np.float32), truth)


def _network(centre: np.ndarray, scale: np.ndarray, members: list[Any]) -> Network:
    stacked = [np.stack([member.coefs_[layer] for member in members]) for layer in (0, 1)]
    biases = [np.stack([member.intercepts_[layer] for member in members]) for layer in (0, 1)]
    arrays = (centre, scale, stacked[0], biases[0], stacked[1], biases[1])
    return Network(*(array.astype(np.float32) for array in arrays))


def _temperature(shares: np.ndarray, truth: np.ndarray) -> float:
    """What makes the shares as likely as they say: the least surprise about hits of kits not heard."""

    def surprise(logarithm: float) -> float:
        softened = shares ** np.exp(-logarithm)
        softened /= softened.sum(axis=1, keepdims=True)
        return -float(np.log(softened[np.arange(len(truth)), truth] + 1e-9).mean())

    return float(np.exp(minimize_scalar(surprise, bounds=(-1.5, 1.5), method="bounded").x))


def _line(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Slope and offset of a logistic curve through scores and truth (Platt scaling), a little held back."""

    def surprise(line: np.ndarray) -> float:
        logits = line[0] * scores + line[1]
        return float((np.logaddexp(0, logits) - truth * logits).mean() + 1e-3 * (line[0] - 1) ** 2)

    slope, offset = minimize(surprise, np.array([1.0, 0.0]), method="Nelder-Mead").x
    return float(slope), float(offset)
