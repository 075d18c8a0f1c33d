"""The whole road in minutes: a synthesised library, prep, train, the base and the adapter asked the same things, and an
evaluation."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from data_prep import Rights, Settings, prepare
from data_prep.dataset import clips
from data_prep.ownership.rights import Basis
from data_prep.slicing.slices import Slicing
from finetune.adapter import load_adapter
from finetune.audio_files import write_audio
from finetune.base_model.starter.library import write_library
from finetune.errors import WoodshedError
from finetune.evaluation.evaluate import evaluate
from finetune.evaluation.results import Recommendation
from finetune.evaluation.score import Settings as Amount
from finetune.generate import Request, generate
from finetune.hear import load
from finetune.pictures import draw_spectrograms
from finetune.progress import say
from finetune.recipe import Recipe, load_recipe
from finetune.rehearsal import affordable_steps
from finetune.report import write_report
from finetune.trainer import train

TRIGGER = "shedkit"
PARTS = ("library", "dataset", "runs", "audio")
EVALUATED = Amount(sounds=2, seeds=1, guidance=3.0)


@dataclass(frozen=True)
class Pair:
    """The same prompt and seed, without and with the adapter."""

    prompt: str
    seed: int
    base: Path
    adapted: Path
    spectrogram: Path


@dataclass(frozen=True)
class DemoResult:
    library: Path
    dataset: Path
    run: Path
    held_out_loss_before: float
    held_out_loss_after: float
    steps: int
    seconds: float
    pairs: list[Pair]
    recommendation: Recommendation
    page: Path

    def story(self) -> str:
        """What was done and where it lies, for a person."""
        change = 100 * (self.held_out_loss_after / self.held_out_loss_before - 1)
        lines = [
            f"The drummer's takes   {self.library}",
            f"Sliced and captioned  {self.dataset}",
            f"The run               {self.run}  ({self.steps} steps)",
            f"Held-out loss         {self.held_out_loss_before:.4f} before, {self.held_out_loss_after:.4f} after "
            f"({change:+.1f} %), on a take that was not trained on",
            "Hear the difference, same prompt and same seed:",
        ]
        for pair in self.pairs:
            lines += [
                f"  {pair.prompt}",
                f"    base     {pair.base}",
                f"    adapted  {pair.adapted}",
                f"    both     {pair.spectrogram}",
            ]
        said = self.recommendation
        lines += [f"Evaluated: {said.action}. {said.words}", f"Figures and sounds on one page: {self.page}"]
        return "\n".join([*lines, f"Done in {self.seconds / 60:.1f} minutes."])


def run_demo(out: Path, minutes: float) -> DemoResult:
    """Do everything anew under `out`. Raises WoodshedError when `out` holds something else than a demo."""
    began = time.monotonic()
    _clear(out)
    say("1/5  A drummer plays: synthesising the takes")
    write_library(out / "library")
    say("2/5  Slicing, describing and captioning them")
    rights = Rights(Basis.own_recording, "Woodshed's own drum synthesiser")
    prepare(out / "library", out / "dataset", rights, Settings(Slicing.bars, bars=2, trigger=TRIGGER))
    say("3/5  Training an adapter on the starter base")
    recipe = _recipe(out)
    steps = affordable_steps(recipe, minutes)
    result = train(replace(recipe, training=replace(recipe.training, steps=steps)))
    if result.status == "stopped":
        raise WoodshedError(
            f"The demo was stopped while training. Begin it anew with: woodshed demo --out {out}"
        )
    if result.held_out_loss_before is None or result.held_out_loss_after is None:
        raise WoodshedError(
            "The demo's dataset has no held-out take; this is a fault of Woodshed, please report it."
        )
    say("4/5  Asking the base and the adapter for the same things")
    pairs = _compare(out, result.run)
    say("5/5  Evaluating the adapter")
    found = evaluate(result.run, EVALUATED)
    return DemoResult(
        library=out / "library", dataset=out / "dataset", run=result.run,
        held_out_loss_before=result.held_out_loss_before, held_out_loss_after=result.held_out_loss_after,
        steps=result.step, seconds=time.monotonic() - began, pairs=pairs, recommendation=found.recommendation,
        page=write_report(result.run),
    )  # fmt: skip


def _clear(out: Path) -> None:
    """Remove what an earlier demo made, and nothing else."""
    if out.exists() and not out.is_dir():
        raise WoodshedError(f"'{out}' is a file; name a folder for the demo with --out.")
    strangers = [p.name for p in out.iterdir() if p.name not in PARTS] if out.exists() else []
    if strangers:
        raise WoodshedError(
            f"'{out}' holds other things than a demo ({strangers[0]}); name a new folder with --out."
        )
    for part in PARTS:
        shutil.rmtree(out / part, ignore_errors=True)


def _recipe(out: Path) -> Recipe:
    """The demo's recipe, with a number of steps that is still to be found."""
    changes = [f"data.dataset={out / 'dataset'}", f"output.root={out / 'runs'}", "training.steps=100"]
    return load_recipe(Path(str(files("finetune") / "demo.yaml")), changes)


def _compare(out: Path, run: Path) -> list[Pair]:
    """For each of a few prompts, the base and the adapted base with one seed, as sound and as a picture."""
    requests = _requests(out / "dataset")
    model = load("starter")
    sounds = [[generate(model, request) for request in requests]]
    load_adapter(model, run)
    sounds.append([generate(model, request) for request in requests])
    pairs = []
    for number, (request, base, adapted) in enumerate(zip(requests, *sounds, strict=True), start=1):
        names = [
            out / "audio" / f"{number} {kind}" for kind in ("base.wav", "adapted.wav", "spectrogram.png")
        ]
        write_audio(names[0], base, model.sample_rate)
        write_audio(names[1], adapted, model.sample_rate)
        draw_spectrograms(names[2], request.prompt, {"base": base, "adapted": adapted}, model.sample_rate)
        pairs.append(Pair(request.prompt, request.seed, *names))
    return pairs


def _requests(dataset: Path) -> list[Request]:
    """A caption of the held-out take and of two others, at the length of their clips."""
    one_of_each = {clip.recording: clip for clip in reversed(clips(dataset))}
    chosen = sorted(one_of_each.values(), key=lambda clip: (clip.split != "validation", clip.id))[:3]
    return [Request(clip.text, clip.seconds, seed, 50, 3.0) for seed, clip in enumerate(chosen)]
