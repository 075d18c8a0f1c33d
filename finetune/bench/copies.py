"""Near copies against truth: planted copies that must be found, and playing that copies nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from finetune.bench.copies_figures import DECODED, Trial, figures, kinds, players_of
from finetune.bench.figures import Figure, Part
from finetune.bench.planting import ALTERED, VERBATIM, Plant
from finetune.bench.players import Player, all_players, strokes
from finetune.evaluation.copies import PlayedClip, find_copies
from finetune.progress import progress_bar

SAMPLE_RATE = 44_100
OTHERS = 6
SOUNDS, CLIPS = 32, 500
LATENT_NOISE = (0.0, 0.2, 0.4)
"""How far latents of a copy are from those of the clip, as a share of their deviation."""
SHORT = ("as it is", "12 dB quieter", "inverted", "noise 20 dB below", "MP3, strongest", "begins later")
NEGATIVES = ("further takes", "same groove played anew", "other players")


Sounds = dict[str, tuple[str, str | None, np.ndarray]]
"""Name → kind, the clip it copies, and the sound."""


def benchmark(recordings: Path, clips: int, seed: int, autoencoder: bool) -> Part:
    """Plant copies of `clips` clips of each player, look for them, and for copies where there are none."""
    players = all_players(recordings, clips, seed)
    trials: list[Trial] = []
    total = len(players) * (2 if autoencoder else 1) + 2
    with progress_bar("Copies", total) as report:
        for number, player in enumerate(players):
            others = _others(players, player)
            trials += try_player(player, others, {**VERBATIM, **ALTERED}, np.random.default_rng(seed))
            report(number + 1, player.name)
        trials += try_player(
            strokes(), [], {name: VERBATIM[name] for name in SHORT}, np.random.default_rng(seed)
        )
        for number, player in enumerate(players if autoencoder else []):
            trials += through_autoencoder(player, seed)
            report(len(players) + 2 + number, player.name)
        seconds = cost(players)
        report(total, "cost")
    return Part(
        name="copies",
        title="Near copies",
        figures=[
            *figures(trials),
            Figure(f"{SOUNDS} sounds, {CLIPS} clips and {SOUNDS} held out", seconds, "s"),
        ],
        notes=NOTES,
        grids=[kinds(trials), players_of(trials)],
        details={"trials": [asdict(each) for each in trials]},
    )


def try_player(
    player: Player, others: Sequence[np.ndarray], plants: dict[str, Plant], rng: np.random.Generator
) -> list[Trial]:
    """Every plant of every training clip, and all that copies nothing, at once."""
    elsewhere = others or player.further
    sounds: Sounds = {}
    for number, clip in enumerate(player.training):
        for kind, plant in plants.items():
            sound = plant(clip.samples, elsewhere[number % len(elsewhere)], rng)
            sounds[f"{kind} of {clip.id}"] = kind, clip.id, sound
    return _tried(player, sounds | _negatives(player, others))


def through_autoencoder(player: Player, seed: int) -> list[Trial]:
    """Copies as an adapter would make them: decoded from latents that are a clip's, or off by some noise.

    They are compared with the clips through the same autoencoder, and those of no noise with the clips as they are.
    """
    import torch

    from finetune.base_model import load_base

    base, random = load_base("starter"), torch.Generator().manual_seed(seed)

    def decoded(sound: np.ndarray, noise: float = 0.0) -> np.ndarray:
        latents = base.encode_audio(torch.from_numpy(np.ascontiguousarray(sound, np.float32))[None])
        latents = latents + noise * latents.std() * torch.randn(latents.shape, generator=random)
        return base.decode_latents(latents)[0, :, : sound.shape[1]].numpy()

    def both(clips: Sequence[PlayedClip]) -> list[PlayedClip]:
        return [replace(clip, samples=decoded(clip.samples)) for clip in clips]

    as_heard = Player(
        player.name,
        both(player.training),
        both(player.held_out),
        [decoded(sound) for sound in player.further],
        [decoded(sound) for sound in player.same_grooves],
    )
    copies: Sounds = {
        f"{noise} of {clip.id}": (_decoded_kind(noise), clip.id, decoded(clip.samples, noise))
        for noise in LATENT_NOISE
        for clip in player.training
    }
    plain = {
        name: (UNDECODED, planted, sound)
        for name, (kind, planted, sound) in copies.items()
        if kind == _decoded_kind(0)
    }
    return _tried(as_heard, copies | _negatives(as_heard, [], ", decoded")) + _tried(player, plain)


UNDECODED = f"{DECODED}, clips not"


def _decoded_kind(noise: float) -> str:
    return DECODED + (f", latents {noise:.0%} off" if noise else "")


def _negatives(player: Player, others: Sequence[np.ndarray], what: str = "") -> Sounds:
    sets = zip(NEGATIVES, (player.further, player.same_grooves, others), strict=True)
    return {f"{kind} {n}": (kind + what, None, sound) for kind, of in sets for n, sound in enumerate(of)}


def _tried(player: Player, sounds: Sounds) -> list[Trial]:
    copied = find_copies(
        {name: sound for name, (_, _, sound) in sounds.items()}, player.training, player.held_out, SAMPLE_RATE
    )
    return [Trial(player.name, sounds[each.sound][0], sounds[each.sound][1], each) for each in copied.nearest]


def _others(players: Sequence[Player], player: Player) -> list[np.ndarray]:
    """Clips of the other players, one of each."""
    return [each.training[0].samples for each in players if each is not player][:OTHERS]


def cost(players: Sequence[Player]) -> float:
    """Seconds for as many sounds, clips and held-out takes as a large run has, of five seconds."""
    clips = [clip for player in players for clip in player.training]
    sounds = {str(number): clips[number % len(clips)].samples for number in range(SOUNDS)}
    began = time.perf_counter()
    find_copies(sounds, islice(cycle(clips), CLIPS), islice(cycle(clips), SOUNDS), SAMPLE_RATE)
    return time.perf_counter() - began


NOTES = [
    "Waveform: correlation at 8 kHz, median, lowest and highest; log-mel: median. Found: verbatim, and for altered "
    "copies verbatim or same groove.",
]
