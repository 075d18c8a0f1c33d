"""Near copies against truth: planted copies that must be found, and playing that copies nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from finetune.bench.figures import Figure, Grid, Part
from finetune.bench.planting import ALTERED, VERBATIM, Plant
from finetune.bench.players import STROKES, Player, all_players, strokes
from finetune.evaluation.copies import PlayedClip, find_copies
from finetune.evaluation.results import Copy
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


@dataclass(frozen=True)
class Trial:
    """A sound of known origin and what was said of it. `planted` is the clip that it copies, None for none."""

    player: str
    kind: str
    planted: str | None
    found: Copy


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
        grids=[_grid(trials), _players(trials)],
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
    return _tried(as_heard, copies | _negatives(as_heard, [], DECODED)) + _tried(player, plain)


DECODED = ", decoded"
UNDECODED = "through the autoencoder, clips not"


def _decoded_kind(noise: float) -> str:
    return "through the autoencoder" + (f", latents {noise:.0%} off" if noise else "")


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


def figures(trials: Sequence[Trial]) -> list[Figure]:
    """Verbatim copies found as such, with the right clip; false alarms; altered copies found by either verdict."""
    bars = [each for each in trials if each.player != STROKES]
    short = [each for each in trials if each.player == STROKES]
    negatives = [each for each in trials if each.planted is None]
    verbatim = [each for each in bars if each.kind in VERBATIM]
    altered = [each for each in bars if each.kind in ALTERED]
    decoded = [each for each in bars if each.kind == _decoded_kind(0)]
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
        Figure("with the right clip named ", _share(altered, _right_any), "%"),
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


def _right_any(trial: Trial) -> bool:
    return _as_any(trial) and trial.found.clip == trial.planted


def _share(trials: Sequence[Trial], holds: Callable[[Trial], bool]) -> float:
    return 100 * float(np.mean([holds(each) for each in trials])) if trials else float("nan")


def _grid(trials: Sequence[Trial]) -> Grid:
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
    kinds = list(dict.fromkeys((each.player == STROKES, each.kind) for each in trials))
    rows = []
    for short, kind in kinds:
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


def _players(trials: Sequence[Trial]) -> Grid:
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


NOTES = [
    "Waveform: correlation at 8 kHz, median, lowest and highest; log-mel: median. Found: verbatim, and for altered "
    "copies verbatim or same groove.",
]
