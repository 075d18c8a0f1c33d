"""A small, complete, plausible evaluation, for tests of what reads one.

`evaluation_of(...)` makes the data, `write_sample(run)` the folder `run/evaluation/` with its sounds. Read it back with
`finetune.evaluation.files.read_evaluation(run)`; `write_evaluation` there writes any other.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from finetune.evaluation.files import write_evaluation
from finetune.evaluation.results import (
    Asked,
    CheckpointFigures,
    Copied,
    Copy,
    DistanceTo,
    Effect,
    EffectAt,
    Evaluation,
    Figure,
    Kept,
    KeptAt,
    Learned,
    LossAgainstBase,
    LossAtStrength,
    LossBand,
    Recommendation,
    Sound,
)

RATE = 44_100
TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
CAPTIONS = ("shedkit swung loop. BPM: 104", "shedkit straight loop. BPM: 92 “Besen”")


def write_sample(run: Path, evaluation: Evaluation | None = None) -> Evaluation:
    """Write `run/evaluation/` with a decaying burst of noise for each sound; returns what was written."""
    evaluation = evaluation or evaluation_of()
    noise = np.random.default_rng(0)
    bursts = (
        (sound.file, _burst(noise, round(sound.seconds * RATE)).astype(np.float32))
        for sound in evaluation.sounds
    )
    write_evaluation(run, evaluation, bursts, RATE)
    return evaluation


def evaluation_of() -> Evaluation:
    """A run that learned, keeps what the base could, and repeats one clip in one sound."""
    return Evaluation(
        run="mykit",
        adapter="best",
        step=300,
        base="starter",
        base_fingerprint="0" * 64,
        date="2026-01-02T03:04:05+00:00",
        seconds=184.2,
        settings={"sounds": 2, "seeds": 1, "steps": 30, "guidance": 3.0, "strength": 1.0},
        effect=_effect(),
        learned=_learned(),
        kept=_kept(),
        copied=_copied(),
        checkpoints=[
            CheckpointFigures(0, 0.9806, 0.9704, None),
            CheckpointFigures(200, 0.70, 0.66, 0.31),
            CheckpointFigures(300, 0.66, 0.61, 0.35),
        ],
        recommendation=Recommendation(
            action="use",
            words="Use the adapter of step 300 at strength 1.",
            step=300,
            folder="best",
            strength=1.0,
            reasons=["Held-out loss is 33 % below the base's (from -35 to -31 %)."],
        ),
        sounds=sounds(),
    )


def silent_about_held_out() -> Evaluation:
    """The same of a run without held-out clips: what needs them is unknown."""
    whole = evaluation_of()
    learned = replace(whole.learned, verdict="unknown", held_out=None, distances=[], asked=[], strengths=[])
    copied = replace(whole.copied, held_out_waveform=None, held_out_spectrogram=None)
    checkpoints = [replace(each, held_out_loss=None) for each in whole.checkpoints]
    held_out = [sound for sound in whole.sounds if sound.kind != "held out"]
    return replace(whole, learned=learned, copied=copied, checkpoints=checkpoints, sounds=held_out)


def sounds() -> list[Sound]:
    """Two captions of the set with one seed each and one kept prompt, by base and adapter; clips of the player."""
    made = []
    for number, prompt in enumerate(CAPTIONS, start=1):
        pair = f"set-{number}"
        for kind, strength in (("base", 0.0), ("adapted", 1.0)):
            made.append(_sound(f"{pair}-{kind}", kind, prompt, pair=pair, seed=number, strength=strength))
        made.append(
            _sound(
                f"held-out-{number}", "held out", prompt, clip=f"take-3-{number:04d}", recording="take 3.wav"
            )
        )
    for step in (200, 300):
        made.append(
            _sound(f"step-{step}", "checkpoint", CAPTIONS[0], pair="set-1", seed=1, strength=1.0, step=step)
        )
    made.append(
        _sound("training-1", "training", CAPTIONS[0], clip="take-1-0001", recording="take 1, 84 bpm.wav")
    )
    for kind, strength in (("base", 0.0), ("adapted", 0.5), ("adapted", 1.0)):
        made.append(
            _sound(
                f"kept-1-{strength:g}", kind, "bossa nova on a cajon. BPM: 120", prompt_set="kept", pair="kept-1",
                seed=0, strength=strength,
            )
        )  # fmt: skip
    return made


def _sound(id: str, kind: str, prompt: str, **more: object) -> Sound:
    return Sound(id=id, file=f"audio/{id}.flac", kind=kind, seconds=0.4, prompt=prompt, **more)  # type: ignore[arg-type]


def _burst(noise: np.random.Generator, samples: int) -> np.ndarray:
    return 0.2 * noise.standard_normal((2, samples)) * np.exp(-np.arange(samples) / 4000)


def _effect() -> Effect:
    return Effect(
        verdict="strong",
        words="It changes the base's predictions by 35 %.",
        relative=0.35,
        bands=[EffectAt(f"{t:g}", 0.3 + 0.1 * t) for t in TIMES],
        blocks=[EffectAt(str(block), 0.02 * (block + 1)) for block in range(6)],
        strengths=[EffectAt(f"{s:g}", 0.35 * s) for s in (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5)],
    )


def _learned() -> Learned:
    def loss(clips: int, base: float, adapted: float) -> LossAgainstBase:
        change = adapted / base - 1
        figure = Figure(change, change - 0.02, change + 0.02)
        bands = [LossBand(t, base * (1 + t) / 1.5, adapted * (1 + t) / 1.5, figure) for t in TIMES]
        return LossAgainstBase(clips, base, adapted, figure, bands)

    return Learned(
        verdict="learned",
        words="On held-out takes its loss is 33 % below the base's (from -35 to -31 %).",
        held_out=loss(8, 0.98, 0.66),
        training=loss(8, 0.97, 0.61),
        distances=[
            DistanceTo("drum descriptors", 0.31, 0.06, 0.01, Figure(0.25, 0.18, 0.31)),
            DistanceTo("latents of the base", 0.22, 0.05, 0.02, Figure(0.17, 0.10, 0.24)),
        ],
        asked=[
            Asked("tempo", 2, 0.5, 1.0, "within 4 % of the caption's BPM, its double or its half"),
            Asked("swing", 1, 0.0, 1.0, "swung or straight, as the caption says"),
        ],
        strengths=[LossAtStrength(s, 0.66 + 0.32 * (1 - s) ** 2) for s in (0, 0.25, 0.5, 0.75, 1, 1.25, 1.5)],
    )


def _kept() -> Kept:
    return Kept(
        verdict="changed",
        words="For prompts outside your set it plays somewhat differently than the base.",
        floor=0.002,
        strengths=[
            KeptAt(0.0, 0.002, 0.0, 0.001, Figure(0.0, -0.01, 0.01)),
            KeptAt(0.5, 0.02, 0.1, 0.015, Figure(0.018, 0.005, 0.03)),
            KeptAt(1.0, 0.06, 0.2, 0.05, Figure(0.058, 0.03, 0.09)),
        ],
        player=0.3,
        floor_latents=0.001,
    )


def _copied() -> Copied:
    copied = Copy(
        "set-1-adapted", "verbatim", "take-1-0001", "take 1, 84 bpm.wav", 0.95, 0.9, 1.0, 0.0, 0.1, 0.3
    )
    fresh = Copy("set-2-adapted", "new", "take-1-0001", "take 1, 84 bpm.wav", 0.31, 0.52, 1.05, 0.0, 0.0, 0.4)
    return Copied(
        verdict="copies",
        words="1 of 2 sounds repeats a training clip: take-1-0001.",
        waveform_threshold=0.93,
        spectrogram_threshold=0.8,
        held_out_waveform=0.62,
        held_out_spectrogram=0.71,
        nearest=[copied, fresh],
    )
