"""The evaluation of a run from beginning to end: load, listen, play, compare, recommend, write."""

from __future__ import annotations

import datetime
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from finetune.evaluation.candidates import candidates
from finetune.evaluation.concert import add_players_own, play, within_minutes
from finetune.evaluation.files import write_evaluation
from finetune.evaluation.judging import judge_copied, judge_kept, judge_learned
from finetune.evaluation.listening import Losses, listen
from finetune.evaluation.recommend import Findings, lowest_loss, recommend
from finetune.evaluation.results import Evaluation
from finetune.evaluation.score import OTHER, Settings
from finetune.evaluation.subject import Subject, prepare


def evaluate(run: Path, settings: Settings) -> Evaluation:
    """Evaluate an adapter of `run` and write `run/evaluation/`, whole or not at all.

    Raises WoodshedError for what cannot be evaluated, in a sentence.
    """
    began = time.monotonic()
    subject = prepare(run, settings)
    effect, losses, checkpoints = listen(subject)
    strength = settings.strength or _strength(losses)
    subject = within_minutes(subject)
    stage = play(subject, strength)
    learned = judge_learned(subject, stage, losses)
    kept = judge_kept(subject, stage)
    copied, copies_at = judge_copied(subject, stage, strength)
    add_players_own(subject, stage, [copy.clip for copy in copied.nearest])
    chosen, folders = subject.candidate, {each.step: each.name for each in reversed(candidates(run))}
    found = Findings(chosen.step, chosen.name, effect, learned, kept, copied, checkpoints, folders, copies_at)
    evaluation = Evaluation(
        run=run.absolute().name,
        adapter=chosen.name,
        step=chosen.step,
        base=Path(subject.base.name).name,
        base_fingerprint=subject.base.fingerprint,
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 1),
        settings=_told(subject, strength),
        effect=effect,
        learned=learned,
        kept=kept,
        copied=copied,
        checkpoints=checkpoints,
        recommendation=recommend(found),
        sounds=[sound for sound in stage.sounds if not sound.id.endswith(OTHER)],
    )
    audio = ((sound.file, stage.audio[sound.id]) for sound in evaluation.sounds)
    write_evaluation(run, evaluation, audio, subject.base.sample_rate)
    return evaluation


def _strength(losses: Losses) -> float:
    """The strength that the set's captions are played at: of the lowest held-out loss; 1 where nothing is held out."""
    if not losses.held_out:
        return 1.0
    return lowest_loss({s: float(each.losses.mean()) for s, each in losses.held_out.items() if s > 0})


def _told(subject: Subject, strength: float) -> dict[str, Any]:
    """How it was measured: no folder of this machine."""
    said = asdict(subject.settings)
    for place in ("base", "dataset", "adapter"):
        del said[place]
    prompts = {"kept_prompts": len(subject.kept.prompts), "held_out_clips": len(subject.held_out)}
    guidance = {
        "guidance": subject.asker.guidance,
        "guidance_of_training_captions": subject.asker.to_repeat("…", 1.0, 0).guidance,
    }
    return said | prompts | guidance | {"strength": strength, "training_clips": len(subject.training)}
