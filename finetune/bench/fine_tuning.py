"""Is fine-tuning worth it? Players whom the base never heard, ten minutes each, and held-out takes to judge by."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np

from data_prep import Rights, Settings, prepare
from data_prep.dataset import Clip, clips, read_audio
from data_prep.ownership.rights import Basis
from data_prep.slicing.slices import Slicing
from finetune.adapter import load_adapter
from finetune.base_model import BaseModel
from finetune.base_model.starter.library import write_library
from finetune.bench.drummers import ACOUSTIC, TABLA, Drummer, write_takes
from finetune.bench.figures import Figure, Listening, Part
from finetune.errors import WoodshedError
from finetune.evaluation.distance import Distances, compare
from finetune.generate import Request, generate_batch
from finetune.hear import load
from finetune.progress import progress_bar, say
from finetune.recipe import Recipe, load_recipe
from finetune.rehearsal import affordable_steps
from finetune.trainer import RunResult, train

HELD_OUT = 0.3
BARS = 2
LONGEST_MINUTES = 10.0
RECORDED_BY = "Woodshed's benchmark"


@dataclass(frozen=True)
class Player:
    """Someone to fine-tune on: `write` makes the folder of takes."""

    name: str
    title: str
    trigger: str
    write: Callable[[Path], object]


@dataclass(frozen=True)
class Adaptation:
    """What the training on one player brought. Losses are held-out ones; `minutes` are of the whole training."""

    player: Player
    loss_before: float
    loss_after: float
    minutes: float
    steps: int
    held_out_clips: int
    training_clips: int
    distances: Distances
    listening: list[Listening]

    @property
    def loss_falls(self) -> float:
        """In percent."""
        return 100 * (1 - self.loss_after / self.loss_before)


def players(recordings: Path | None) -> list[Player]:
    """The synthesised stranger, and where there are real one-shots the two who play them."""

    def real(drummer: Drummer, one_shots: Path) -> Player:
        def write(folder: Path) -> object:
            return write_takes(drummer, one_shots, folder)

        return Player(drummer.name, f"real one-shots: {drummer.instrument}", f"{drummer.name}kit", write)

    found = [Player("stranger", "a synthesised stranger", "shedkit", write_library)]
    if recordings is not None:
        found += [real(drummer, recordings / "one_shots") for drummer in (ACOUSTIC, TABLA)]
    return found


def benchmark(
    recordings: Path | None, out: Path, minutes: float, seeds: int, steps: int, guidance: float
) -> Part:
    """The part `fine-tuning`, everything under `out`. Each player trains for about `minutes`, and plays the captions
    of the held-out clips with `seeds` seeds each, without and with the adapter."""
    done = [
        adapt(player, out / player.name, minutes, seeds, steps, guidance) for player in players(recordings)
    ]
    notes = (
        NOTES if recordings is not None else [*NOTES, "The two players of real one-shots need --recordings."]
    )
    return Part(
        name="fine-tuning",
        title="Fine-tuning on players it never heard",
        figures=[figure for each in done for figure in figures(each)],
        notes=notes,
        details={each.player.name: _details(each) for each in done},
        listening=[row for each in done for row in each.listening],
    )


NOTES = [
    "Held-out loss: whole takes that are not trained on, with fixed noise at fixed times, before and after.",
    "Distance: unbiased squared maximum mean discrepancy over log-mel descriptors of half seconds, of what is played "
    "for the captions of the held-out clips, to those clips. Closer by: the base's distance minus the adapted "
    "base's, with its 95 % bootstrap interval over clips. Training takes: their distance to the held-out ones.",
]


def adapt(
    player: Player, folder: Path, minutes: float, seeds: int, steps: int, guidance: float
) -> Adaptation:
    """Takes, dataset, training, sounds, distances; what was in `folder` is replaced."""
    say(f"Fine-tuning on {player.title}")
    shutil.rmtree(folder, ignore_errors=True)
    player.write(folder / "takes")
    settings = Settings(Slicing.bars, bars=BARS, trigger=player.trigger, validation=HELD_OUT)
    prepare(folder / "takes", folder / "dataset", Rights(Basis.cc0, RECORDED_BY), settings, workers=1)
    held_out, trained = (clips(folder / "dataset", split) for split in ("validation", "train"))
    result = _train(_recipe(player, folder), minutes)
    base, adapted = _play(held_out, result.run, seeds, steps, guidance)
    heard = [read_audio(clip.path) for clip in held_out]
    distances = compare(base, adapted, [read_audio(clip.path) for clip in trained], heard, 44_100)
    if result.held_out_loss_before is None or result.held_out_loss_after is None:
        raise WoodshedError(
            f"No take of '{folder}' was held out; this is a fault of Woodshed, please report it."
        )
    return Adaptation(
        player=player,
        loss_before=result.held_out_loss_before,
        loss_after=result.held_out_loss_after,
        minutes=result.seconds / 60,
        steps=result.step,
        held_out_clips=len(held_out),
        training_clips=len(trained),
        distances=distances,
        listening=[_row(player, held_out[0], heard[0], base[0], adapted[0])],
    )


def figures(each: Adaptation) -> list[Figure]:
    """The loss and the distances of one player, with their targets."""
    name, far = each.player.name, each.distances
    return [
        Figure(f"{name}: held-out loss falls by", each.loss_falls, "%", at_least=10),
        Figure(f"{name}: training", each.minutes, "min", at_most=LONGEST_MINUTES),
        Figure(f"{name}: distance of the base", far.base),
        Figure(f"{name}: distance of the adapted base", far.adapted),
        Figure(f"{name}: distance of training takes", far.floor),
        Figure(f"{name}: closer by", far.gain),
        Figure(f"{name}: closer by, low end of its interval", far.gain_low, above=0),
        Figure(f"{name}: closer by, high end of its interval", far.gain_high),
    ]


def _recipe(player: Player, folder: Path) -> Recipe:
    """The demo's recipe, with a number of steps that is still to be found."""
    changes = [
        f"name={player.name}",
        f"data.dataset={folder / 'dataset'}",
        f"output.root={folder / 'runs'}",
        "training.steps=100",
    ]
    return load_recipe(Path(str(files("finetune") / "demo.yaml")), changes)


def _train(recipe: Recipe, minutes: float) -> RunResult:
    steps = affordable_steps(recipe, minutes)
    result = train(replace(recipe, training=replace(recipe.training, steps=steps)))
    if result.status == "stopped":
        raise WoodshedError("The benchmark was stopped while training; nothing was measured.")
    return result


def _play(
    held_out: Sequence[Clip], run: Path, seeds: int, steps: int, guidance: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The captions of the held-out clips at their lengths, by the base and by the adapted base, in one order."""
    wanted = [
        [Request(clip.text, clip.seconds, number * seeds + seed, steps, guidance) for seed in range(seeds)]
        for number, clip in enumerate(held_out)
    ]
    model = load("starter")
    with progress_bar("Playing", 2 * len(wanted)) as report:
        base = _sounds(model, wanted, lambda done: report(done, "the base"))
        load_adapter(model, run)
        adapted = _sounds(model, wanted, lambda done: report(len(wanted) + done, "adapted"))
    return base, adapted


def _sounds(
    model: BaseModel, wanted: Sequence[Sequence[Request]], report: Callable[[int], None]
) -> list[np.ndarray]:
    sounds: list[np.ndarray] = []
    for done, requests in enumerate(wanted, start=1):
        sounds += generate_batch(model, requests)
        report(done)
    return sounds


def _row(
    player: Player, clip: Clip, held_out: np.ndarray, base: np.ndarray, adapted: np.ndarray
) -> Listening:
    sounds = {"held-out take": held_out, "base": base, "adapted": adapted}
    return Listening(f"{player.name}: “{clip.text}”", sounds)


def _details(each: Adaptation) -> dict[str, object]:
    return {
        "held_out_loss_before": each.loss_before,
        "held_out_loss_after": each.loss_after,
        "steps": each.steps,
        "minutes": each.minutes,
        "training_clips": each.training_clips,
        "held_out_clips": each.held_out_clips,
        **asdict(each.distances),
    }
