"""A run with an evaluation whose sounds are played by the drummer in code, for tests of the listening page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from finetune.evaluation.files import write_evaluation
from finetune.evaluation.results import Evaluation, Sound
from finetune.recipe import build_recipe
from finetune.run_folder import write_recipe
from tests.data_prep.drummer import SAMPLE_RATE, play
from tests.finetune.evaluations import evaluation_of

SECONDS = 2.4
LEVELS = {"base": 0.25, "adapted": 1.0, "checkpoint": 0.6, "training": 0.8, "held out": 0.9}


def write_run(run: Path, evaluation: Evaluation | None = None) -> Evaluation:
    """`run` with evaluation, recipe.yaml and log.jsonl: sounds of 2.4 s, the base quieter than the others."""
    evaluation = evaluation or evaluation_of()
    evaluation = replace(evaluation, sounds=[replace(each, seconds=SECONDS) for each in evaluation.sounds])
    sounds = ((sound.file, _played(sound)) for sound in evaluation.sounds)
    write_evaluation(run, evaluation, sounds, SAMPLE_RATE)
    write_recipe(run, build_recipe([("", "name", run.name), ("", "data.dataset", str(run.parent))], "a test"))
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _log()), encoding="utf-8")
    return evaluation


def _played(sound: Sound) -> np.ndarray:
    """The base plays straight and alike; what has learned swings as the player does, a checkpoint half-way."""
    swing = {"base": 0.5, "checkpoint": 0.58}.get(sound.kind, 0.66)
    take = play(bpm=104, bars=1, swing=swing, seed=sum(sound.id.encode()), lead_in=0.05)
    return LEVELS[sound.kind] * take.samples[:, : round(SECONDS * SAMPLE_RATE)]


def _log() -> list[dict[str, float]]:
    noise = np.random.default_rng(0)
    rows = []
    for step in range(1, 301):
        fallen = 0.65 + 0.35 * np.exp(-step / 80)
        rows.append({"step": step, "loss": float(fallen + 0.08 * noise.standard_normal())})
        if step % 50 == 0:
            rows.append(
                {"step": step, "held_out_loss": float(fallen), "training_set_loss": float(fallen - 0.04)}
            )
    return rows
