"""Players with clips to train on, takes held out, and fresh performances: what detectors of copies are tried on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from finetune.base_model.starter.drums import Kit
from finetune.base_model.starter.performance import mix_down, play
from finetune.base_model.starter.styles import Groove, draw_groove
from finetune.bench.drummers import ACOUSTIC, SAMPLE_RATE, TABLA, Drummer, read_hit, render
from finetune.bench.truth import Known, read_known
from finetune.evaluation.copies import PlayedClip

CLIP_SECONDS = 5.0
BARS = 4
PIECES = ("kick", "snare", "closed hi-hat", "high tom", "floor tom", "crash cymbal")
KITS = (3, 11, 29)
STROKES, TAKE = "single strokes", "take"


@dataclass(frozen=True)
class Player:
    """`held_out` calibrates; `further` and `same_grooves` are played anew and copy nothing: other takes of the
    player, and the grooves of the training clips once more on the same instruments."""

    name: str
    training: list[PlayedClip]
    held_out: list[PlayedClip]
    further: list[np.ndarray]
    same_grooves: list[np.ndarray]


def all_players(recordings: Path, clips: int, seed: int) -> list[Player]:
    """Ten players with at most `clips` training clips each; the same seed, the same sounds."""
    known = read_known(recordings)
    takes = [one for one in known if one.kind == "takes"]
    hands = [_of_takes(f"{TAKE} {one.name}", one, clips) for one in takes]
    one_shots = recordings / "one_shots"
    drummers = [_of_drummer(each, one_shots, clips, seed) for each in (ACOUSTIC, TABLA)]
    loops = [one for one in known if one.kind == "loops"]
    kits = [_of_kit(Kit(seed + number), clips, seed) for number in range(2)]
    return [*hands, _of_loops(loops, clips), *drummers, *kits]


def _cut(name: str, samples: np.ndarray, seconds: float = CLIP_SECONDS) -> Iterator[PlayedClip]:
    """Whole clips of a recording; a shorter recording is one."""
    size = round(seconds * SAMPLE_RATE)
    for number in range(max(1, samples.shape[1] // size)):
        part = np.ascontiguousarray(samples[:, number * size : (number + 1) * size], np.float32)
        yield PlayedClip(f"{name} {number + 1}", name, part)


def _of_takes(name: str, take: Known, clips: int) -> Player:
    """A take that repeats its groove: the first half is trained on, the third quarter calibrates, the rest is new."""
    first = round(take.downbeats[0] * SAMPLE_RATE)
    played = take.samples[:, first : round(take.downbeats[-1] * SAMPLE_RATE)]
    half, quarter = played.shape[1] // 2, played.shape[1] // 4
    later = [clip.samples for clip in _cut(name, played[:, half + quarter :])]
    return Player(
        name,
        list(_cut(name, played[:, :half]))[:clips],
        list(_cut(name, played[:, half : half + quarter])),
        [],
        later,
    )


def _of_loops(loops: list[Known], clips: int) -> Player:
    """Loops of many hands: six are trained on, two calibrate, two are new."""
    cut = [list(_cut(one.name, one.samples)) for one in sorted(loops, key=lambda one: -one.seconds)]
    training, held_out, further = cut[:6], cut[6::2], cut[7::2]
    return Player(
        "loops",
        [clip for each in training for clip in each][:clips],
        [clip for each in held_out for clip in each],
        [clip.samples for each in further for clip in each],
        [],
    )


def _of_drummer(drummer: Drummer, one_shots: Path, clips: int, seed: int) -> Player:
    """Real one-shots played by grooves; eight takes, of which four are trained on."""
    kit = {name: read_hit(one_shots, voice.file) for name, voice in drummer.voices.items()}
    pairs = [(2 * number % 6, 2 * number % 6 + 2) for number in range(len(drummer.tempi))]

    def take(number: int, again: int = 0) -> list[PlayedClip]:
        first, last = pairs[number]
        player = replace(drummer, grooves=drummer.grooves[first:last])
        rng = np.random.default_rng([seed, number, again])
        return list(_cut(f"{drummer.name} {number + 1}", render(player, kit, drummer.tempi[number], rng)))

    return Player(
        f"{drummer.name}, built",
        [clip for number in range(4) for clip in take(number)[: max(1, clips // 4)]],
        [clip for number in (4, 5) for clip in take(number)],
        [clip.samples for number in (6, 7) for clip in take(number)],
        [clip.samples for number in range(4) for clip in take(number, again=1)[:2]],
    )


def _of_kit(kit: Kit, clips: int, seed: int) -> Player:
    """A synthesised kit with grooves of its own."""
    rng = np.random.default_rng([seed, kit.seed])
    grooves = [draw_groove(rng, kit.pieces, bpm=float(rng.integers(80, 160))) for _ in range(clips + 4)]
    trained, held, new = grooves[:clips], grooves[clips : clips + 2], grooves[clips + 2 :]

    def clip(number: int, groove: Groove) -> PlayedClip:
        return PlayedClip(f"groove {number + 1}", f"kit {kit.seed}", performance(kit, groove, rng))

    return Player(
        f"synthesised {kit.type} {kit.seed}",
        [clip(number, groove) for number, groove in enumerate(trained)],
        [clip(clips + number, groove) for number, groove in enumerate(held)],
        [performance(kit, groove, rng) for groove in new],
        [performance(kit, groove, rng) for groove in trained],
    )


def performance(kit: Kit, groove: Groove, rng: np.random.Generator) -> np.ndarray:
    """(2, samples) of four bars, with a hand of its own each time."""
    hits = play(groove, BARS, rng)
    return mix_down(kit, hits, round(BARS * groove.bar_seconds * SAMPLE_RATE), rng, fold=False)


def strokes() -> Player:
    """Single strokes of three synthesised kits, each piece played four times: two strokes are never the same, but
    those of one drum are close."""
    takes: tuple[list[PlayedClip], ...] = ([], [], [])
    for seed in KITS:
        kit = Kit(seed)
        for piece in (piece for piece in PIECES if piece in kit.pieces):
            for take, into in enumerate(takes):
                sound = kit.strike(piece, 0.9, take)[: round(0.8 * SAMPLE_RATE)]
                into.append(PlayedClip(f"{piece} of {seed}", f"kit {seed}", np.stack([sound, sound])))
    return Player(STROKES, takes[0], takes[1], [clip.samples for clip in takes[2]], [])
