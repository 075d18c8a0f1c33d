"""Are evaluations true? Three runs on the starter whose truth is known: a good one, one that knows four clips by heart,
and one that was not trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

from data_prep import Rights, Settings, prepare
from data_prep.dataset import MANIFEST, clips
from data_prep.ownership.rights import Basis
from data_prep.slicing.slices import Slicing
from finetune.base_model.starter.library import write_library
from finetune.bench.figures import Figure, Grid, Part
from finetune.errors import WoodshedError
from finetune.evaluation.evaluate import evaluate
from finetune.evaluation.results import Evaluation
from finetune.evaluation.score import Settings as Amount
from finetune.progress import say
from finetune.recipe import load_recipe
from finetune.trainer import train

TRIGGER = "shedkit"
HELD_OUT = 0.3
KNOWN_BY_HEART = 4


@dataclass(frozen=True)
class Planted:
    """A run with known truth. `adapter` is the one that is evaluated, `clips` how many it is trained on, None for all;
    `holds` says what an evaluation must find."""

    name: str
    truth: str
    changes: tuple[str, ...]
    adapter: str | None
    clips: int | None
    holds: Callable[[Evaluation], bool]


def _effective(found: Evaluation) -> bool:
    return (
        found.effect.verdict in ("plain", "strong")
        and found.learned.verdict == "learned"
        and found.copied.verdict != "copies"
        and found.recommendation.action in ("use", "train longer")
    )


def _copying(found: Evaluation) -> bool:
    """And every one of the four clips is repeated where its caption asks for it, and no other clip there."""
    captions = {sound.id: sound.prompt for sound in found.sounds if sound.kind == "adapted"}
    own = {sound.clip: sound.prompt for sound in found.sounds if sound.kind == "training"}
    repeated = [copy for copy in found.copied.nearest if copy.verdict == "verbatim"]
    asked = [copy for copy in repeated if copy.sound.startswith("training-")]
    return (
        found.copied.verdict == "copies"
        and found.learned.verdict == "overtrained"
        and found.recommendation.action in ("take an earlier checkpoint", "do not use")
        and len({copy.clip for copy in asked}) == KNOWN_BY_HEART
        and all(own.get(copy.clip) == captions[copy.sound] for copy in asked)
    )


def _without_effect(found: Evaluation) -> bool:
    return found.effect.verdict == "nothing" and found.recommendation.action == "do not use"


GOOD = ("training.steps=300", "validation.every=50")
BY_HEART = (
    "training.steps=900",
    "adapter.rank=64",
    "optimizer.learning_rate=2e-3",
    "optimizer.schedule=cosine",
    "data.captions=canonical",
    "training.inpainting=false",
    "validation.every=150",
)
UNTRAINED = ("training.steps=1", "optimizer.warmup_steps=0", "optimizer.learning_rate=1e-9")
PLANTED = (
    Planted("normal", "effective, learned, not copying", GOOD, None, None, _effective),
    Planted("by-heart", "copies, each of the clip asked for", BY_HEART, "adapter", KNOWN_BY_HEART, _copying),
    Planted("untrained", "without effect", UNTRAINED, "adapter", None, _without_effect),
)


def benchmark(folder: Path, amount: Amount) -> Part:
    """The part `proof`; what was in `folder` of an earlier one is replaced."""
    for part in ("library", "datasets", "runs"):
        shutil.rmtree(folder / part, ignore_errors=True)
    write_library(folder / "library")
    settings = Settings(Slicing.bars, bars=2, trigger=TRIGGER, validation=HELD_OUT)
    rights = Rights(Basis.own_recording, "Woodshed's own drum synthesiser")
    whole = folder / "datasets" / "whole"
    prepare(folder / "library", whole, rights, settings, workers=1)
    found = [(planted, _run(planted, folder, whole, amount)) for planted in PLANTED]
    right = sum(planted.holds(each) for planted, each in found)
    return Part(
        name="proof",
        title="Evaluations of runs whose truth is known",
        figures=[
            Figure(f"runs reported as they are, of {len(found)}", right, at_least=len(found)),
            *(
                Figure(f"{each.run}: change of predictions", 100 * each.effect.relative, "%")
                for _, each in found
            ),
            *(Figure(f"{each.run}: evaluation took", each.seconds / 60, "min") for _, each in found),
        ],
        grids=[Grid("What is true, and what was found", HEAD, [_row(*each) for each in found])],
        details={planted.name: asdict(each) for planted, each in found},
        notes=[f"{planted.name}: {each.copied.words}" for planted, each in found],
    )


HEAD = ["run", "is", "effect", "learned", "kept", "copied", "repeated", "recommended"]


def _row(planted: Planted, found: Evaluation) -> list[str]:
    verbatim = [copy for copy in found.copied.nearest if copy.verdict == "verbatim"]
    said = found.recommendation
    return [
        planted.name,
        planted.truth,
        f"{found.effect.verdict} ({100 * found.effect.relative:.2g} %)",
        found.learned.verdict,
        found.kept.verdict,
        found.copied.verdict,
        f"{len({copy.clip for copy in verbatim})} clips, in {len(verbatim)} of {len(found.copied.nearest)} sounds",
        f"{said.action}: step {said.step}, strength {said.strength:g}",
    ]


def _run(planted: Planted, folder: Path, whole: Path, amount: Amount) -> Evaluation:
    """Train and evaluate one of them."""
    say(f"{planted.name}: {planted.truth}")
    dataset = (
        whole
        if planted.clips is None
        else _few_clips(whole, folder / "datasets" / planted.name, planted.clips)
    )
    places = [f"name={planted.name}", f"data.dataset={dataset}", f"output.root={folder / 'runs'}"]
    recipe = load_recipe(Path(str(files("finetune") / "demo.yaml")), [*places, *planted.changes])
    result = train(recipe)
    if result.status == "stopped":
        raise WoodshedError("The benchmark was stopped while training; nothing was measured.")
    return evaluate(result.run, Amount(**{**asdict(amount), "adapter": planted.adapter}))


def _few_clips(dataset: Path, copy: Path, count: int) -> Path:
    """A copy of a dataset with `count` training clips, each of another recording, and all held-out ones."""
    shutil.copytree(dataset, copy)
    firsts: dict[str, str] = {}
    for clip in clips(dataset, "train"):
        firsts.setdefault(clip.recording, clip.id)
    chosen = set(list(firsts.values())[:count])
    lines = (dataset / MANIFEST).read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    kept = [row for row in rows if row["split"] == "validation" or row["id"] in chosen]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    (copy / MANIFEST).write_text(text, encoding="utf-8")
    return copy
