"""Everything that an evaluation plays, in one go; and the player's own clips beside it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from data_prep.dataset import Clip, read_audio
from finetune.evaluation.candidates import candidates, read_candidate
from finetune.evaluation.kept import STRENGTHS
from finetune.evaluation.playing import Part, Stage
from finetune.evaluation.results import Sound
from finetune.evaluation.score import OTHER_SEEDS, TRAINING, lessened
from finetune.evaluation.subject import Subject
from finetune.generate import generate
from finetune.progress import progress_bar
from finetune.validation import spread

CHECKPOINTS = 3


def within_minutes(subject: Subject) -> Subject:
    """Fewer sounds where `minutes` ask for it, told by one that is played for that and thrown away."""
    if subject.settings.minutes is None:
        kept = replace(subject.kept, prompts=subject.kept.prompts[: subject.settings.sounds])
        return replace(subject, kept=kept)
    clip = subject.asked[0].clip
    request = subject.asker.request(clip.text, subject.asker.seconds(clip), 0)
    began = time.monotonic()
    generate(subject.base, request)
    settings, kept = lessened(subject.settings, subject.kept, time.monotonic() - began)
    return replace(subject, settings=settings, kept=kept)


def play(subject: Subject, strength: float) -> Stage:
    """Captions of held-out clips by base and adapter, of training clips by the adapter at strength 1, prompts outside
    the set by the base with two seeds and by the adapter at two strengths, the first caption by a few other steps."""
    asker, adapter, seeds, kept = subject.asker, subject.adapter, subject.settings.seeds, subject.kept
    asked = [each.clip for each in subject.asked]
    learned = [each.clip for each in spread(subject.data.split("train"), subject.settings.sounds)]
    parts = asker.for_clips(asked, "set", None, 0.0, seeds)
    parts += asker.for_prompts(kept, None, 0.0, seeds)
    parts += asker.for_prompts(kept, None, 0.0, seeds, OTHER_SEEDS)
    parts += asker.for_clips(asked, "set", adapter, strength, seeds)
    parts += asker.for_clips(learned, TRAINING, adapter, 1.0, seeds)
    for at in STRENGTHS[1:]:
        parts += asker.for_prompts(kept, adapter, at, seeds)
    parts += _checkpoint_parts(subject, parts[0])
    stage = Stage(subject.base)
    with progress_bar("Playing", len(parts)) as report:
        stage.play(parts, report)
    return stage


def _checkpoint_parts(subject: Subject, first: Part) -> list[Part]:
    """The first caption by a few steps of the run, to hear how it went."""
    steps = list({each.step: each for each in reversed(candidates(subject.run))}.values())
    others = sorted(
        (each for each in steps if each.step != subject.candidate.step), key=lambda each: each.step
    )
    few = others[:: max(1, len(others) // CHECKPOINTS)][:CHECKPOINTS]
    return [
        Part(
            replace(
                first.sound,
                id=f"step-{each.step:06}",
                file=f"audio/step-{each.step:06}.flac",
                kind="checkpoint",
                strength=1.0,
                step=each.step,
            ),
            first.request,
            read_candidate(subject.run, subject.recipe, each, subject.base),
        )
        for each in few
    ]


def add_players_own(subject: Subject, stage: Stage, nearest: Iterable[str]) -> None:
    """The clips whose captions were played, and those of the ids `nearest`, to compare with."""
    clips = {each.clip.id: each.clip for each in subject.data.clips}
    chosen = [each.clip for each in subject.asked]
    chosen += [clips[id] for id in dict.fromkeys(nearest) if id in clips]
    for clip in {each.id: each for each in chosen}.values():
        _add_clip(subject, stage, clip)


def _add_clip(subject: Subject, stage: Stage, clip: Clip) -> None:
    audio = read_audio(clip.path)[:, : round(subject.asker.seconds(clip) * subject.base.sample_rate)]
    held_out = clip.split == "validation"
    number = sum(sound.clip is not None for sound in stage.sounds) + 1
    name = f"{'held-out' if held_out else 'training'}-clip-{number:02}"
    stage.add(
        Sound(
            id=name,
            file=f"audio/{name}.flac",
            kind="held out" if held_out else "training",
            seconds=audio.shape[1] / subject.base.sample_rate,
            prompt=clip.text,
            clip=clip.id,
            recording=clip.recording,
        ),
        audio,
    )
