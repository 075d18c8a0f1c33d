"""Verdicts on what was played: closer to the player, still the base, copied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from finetune.evaluation.asked import asked_and_got
from finetune.evaluation.copies import PlayedClip, find_copies
from finetune.evaluation.held_out import loss_against_base
from finetune.evaluation.kept import STRENGTHS, kept_of
from finetune.evaluation.ladder import Heard, climb
from finetune.evaluation.learned import learned_of
from finetune.evaluation.listening import Losses
from finetune.evaluation.playing import Part, Stage
from finetune.evaluation.results import Copied, Kept, Learned, LossAgainstBase, LossAtStrength, Sound
from finetune.evaluation.score import OTHER, TRAINING
from finetune.evaluation.spaces import Described, distances_to_held_out, moved, spaces
from finetune.evaluation.subject import Subject
from finetune.latents import EncodedClip
from finetune.progress import progress_bar
from finetune.tracking import read_log
from finetune.validation import make_probe, spread
from finetune.watch import validations

CLIPS_DESCRIBED = 64
LOWER_STRENGTH = 0.5


def judge_learned(subject: Subject, stage: Stage, losses: Losses) -> Learned:
    if not losses.held_out:
        return learned_of(None, _loss(subject.training, losses.training), None, [], [], [])
    played = {kind: _of_the_set(stage, kind) for kind in ("base", "adapted")}
    audio = {kind: [stage.audio[sound.id] for sound in of] for kind, of in played.items()}
    facts = [_facts_asked(subject, sound) for sound in played["base"]]
    training, held_out = (_clips(subject, clips) for clips in (subject.training, subject.held_out))
    described = {
        space: Described(
            *([describe(each) for each in of] for of in (audio["base"], audio["adapted"], training, held_out))
        )
        for space, describe in spaces(subject.base).items()
    }
    logged = [row["held_out_loss"] for row in validations(read_log(subject.run))]
    return learned_of(
        _loss(subject.held_out, losses.held_out),
        _loss(subject.training, losses.training),
        min(logged[1:]) / logged[0] - 1 if len(logged) > 1 else None,
        distances_to_held_out(described),
        asked_and_got(facts, audio["base"], audio["adapted"]),
        [LossAtStrength(s, float(each.losses.mean())) for s, each in losses.held_out.items()],
    )


def judge_kept(subject: Subject, stage: Stage) -> Kept:
    """Distances in both spaces; the change of the prediction on what the base itself played."""
    own = _kept_sounds(stage, "base", 0.0, other=False)
    sets = [own, _kept_sounds(stage, "base", 0.0, other=True)]
    sets += [_kept_sounds(stage, "adapted", strength, other=False) for strength in STRENGTHS[1:]]
    takes = _clips(subject, subject.training)
    found = []
    for describe in spaces(subject.base).values():
        same, other, *played = ([describe(stage.audio[sound.id]) for sound in of] for of in sets)
        found.append(moved(same, other, [same, *played], [describe(take) for take in takes]))
    probes = []
    for sound in own:
        latents = subject.base.encode_audio(torch.from_numpy(stage.audio[sound.id])[None])[0].cpu()
        probes.append(
            make_probe(latents, subject.base.encode_prompt(sound.prompt), sound.seconds, f"kept {sound.id}")
        )
    with progress_bar("Kept", len(probes) * (1 + len(STRENGTHS))) as report:
        heard = climb(subject.base, subject.adapter, probes, STRENGTHS, report)
    return kept_of(found[0], found[1], [heard[strength].relative for strength in STRENGTHS])


def judge_copied(subject: Subject, stage: Stage, strength: float) -> tuple[Copied, dict[float, bool]]:
    """Of all that the adapter played for captions of clips; and at which strengths something was repeated.

    Captions of training clips were played at strength 1. What repeats a clip there is played weaker: at `strength`,
    that of the lowest held-out loss, then at a half, until nothing is repeated.
    """
    training, held_out = (_through_autoencoder(subject, split) for split in ("train", "validation"))
    rate = subject.base.sample_rate
    played = [sound for sound in stage.sounds if sound.kind == "adapted" and sound.prompt_set == "set"]
    with progress_bar("Looking for copies", 100) as report:
        copied = find_copies(
            {sound.id: stage.audio[sound.id] for sound in played},
            training,
            held_out,
            rate,
            lambda share: report(round(100 * share), ""),
        )
    repeated = {copy.sound for copy in copied.nearest if copy.verdict == "verbatim"}
    copies_at = dict.fromkeys([sound.strength or 0.0 for sound in played], False)
    copies_at |= {sound.strength or 0.0: True for sound in played if sound.id in repeated}
    again = [sound for sound in played if sound.id in repeated and (sound.strength or 0.0) >= 1]
    for lower in dict.fromkeys([strength, LOWER_STRENGTH]) if again else ():
        if lower < 1:
            parts = [_weaker(subject, sound, lower) for sound in again]
            with progress_bar(f"Playing at {lower:g}", len(parts)) as report:
                stage.play(parts, report)
            weaker = {part.sound.id: stage.audio[part.sound.id] for part in parts}
            copies = find_copies(weaker, training, held_out, rate).verdict == "copies"
            copies_at[lower] = copies_at.get(lower, False) or copies
            if not copies_at[lower]:
                break
    return copied, copies_at


def _weaker(subject: Subject, sound: Sound, strength: float) -> Part:
    name = f"{sound.pair}-adapted-{strength:g}"
    of_training = (sound.pair or "").startswith(TRAINING)
    ask = subject.asker.to_repeat if of_training else subject.asker.request
    request = ask(sound.prompt, sound.seconds, sound.seed or 0)
    weaker = replace(sound, id=name, file=f"audio/{name}.flac", strength=strength)
    return Part(weaker, request, subject.adapter)


def _loss(clips: Sequence[EncodedClip], heard: dict[float, Heard]) -> LossAgainstBase:
    return loss_against_base(heard[0.0], heard[1.0], [each.clip.recording for each in clips])


def _of_the_set(stage: Stage, kind: str) -> list[Sound]:
    """What was played for captions of held-out clips, in pairs: in the order of the pairs."""
    found = [each for each in stage.sounds if each.kind == kind and (each.pair or "").startswith("set-")]
    return sorted(found, key=lambda sound: sound.pair or "")


def _kept_sounds(stage: Stage, kind: str, strength: float, other: bool) -> list[Sound]:
    """What was played for prompts outside the set, in the order of the pairs."""
    found = [
        sound
        for sound in stage.sounds
        if sound.prompt_set == "kept"
        and (sound.kind, sound.strength) == (kind, strength)
        and sound.id.endswith(OTHER) == other
    ]
    return sorted(found, key=lambda sound: sound.pair or "")


def _facts_asked(subject: Subject, sound: Sound) -> Mapping[str, Any]:
    """Facts of the clip whose caption was played."""
    return subject.asked[int((sound.pair or "").split("-")[1]) - 1].clip.facts


def _clips(subject: Subject, clips: Sequence[EncodedClip]) -> list[np.ndarray]:
    """The player's own clips as they sound through the autoencoder, as everything does that the base plays."""
    return [_decoded(subject, each) for each in spread(list(clips), CLIPS_DESCRIBED)]


def _decoded(subject: Subject, clip: EncodedClip) -> np.ndarray:
    frames = subject.base.seconds_to_frames(subject.recipe.data.crop_seconds)
    samples = round(subject.asker.seconds(clip.clip) * subject.base.sample_rate)
    return subject.base.decode_latents(clip.latents()[None, :, :frames])[0, :, :samples].cpu().numpy()


def _through_autoencoder(subject: Subject, split: str) -> list[PlayedClip]:
    """All clips of a split, whole."""
    clips = subject.data.split(split)
    found = []
    with progress_bar("Decoding", len(clips)) as report:
        for clip in clips:
            audio = subject.base.decode_latents(clip.latents()[None])[0].cpu().numpy()
            found.append(PlayedClip(clip.clip.id, clip.clip.recording, audio))
            report(len(found), "the player's own clips")
    return found
