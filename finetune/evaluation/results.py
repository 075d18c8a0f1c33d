"""What an evaluation found, as plain data: written to `evaluation/evaluation.json` of a run, read by its page.

Every part has a `verdict`, one of a few words that programs compare, and `words`, a sentence or two for a musician.
Times `t` are those of the noise: 0 is clean, 1 is noise alone. A `Figure` is None where it could not be measured, and
the `words` of its part say why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

EffectVerdict = Literal["nothing", "slight", "plain", "strong"]
LearnedVerdict = Literal["nothing", "learned", "overtrained", "unknown"]
KeptVerdict = Literal["kept", "changed", "lost"]
CopyVerdict = Literal["verbatim", "same groove", "new"]
Action = Literal["use", "train longer", "take an earlier checkpoint", "do not use"]


@dataclass(frozen=True)
class Figure:
    """A measured value with its 95 % bootstrap interval; the bounds are None where there was one item alone."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Sound:
    """A sound that was generated or is beside them to compare with, as FLAC in the folder of the evaluation.

    `kind`: `base`, `adapted` (the recommended adapter), `checkpoint` (another step of the run), `training`, `held out`
    (a player's own slice). `prompt_set`: `set` (captions of held-out or training clips) or `kept` (fixed prompts
    outside the set). Sounds of one `pair` have the same prompt and seed.
    """

    id: str
    file: str
    kind: Literal["base", "adapted", "checkpoint", "training", "held out"]
    seconds: float
    prompt: str
    prompt_set: Literal["set", "kept"] = "set"
    pair: str | None = None
    seed: int | None = None
    strength: float | None = None
    step: int | None = None
    clip: str | None = None
    recording: str | None = None


@dataclass(frozen=True)
class EffectAt:
    """Change of predictions by the adapter, relative to the base's: at a time `t`, in a block, at a strength."""

    at: str
    relative: float


@dataclass(frozen=True)
class Effect:
    """Does it do anything? `bands` by time of the noise, `blocks` by the residual stream after each block of the
    transformer, `strengths` on the ladder from 0 to 1.5."""

    verdict: EffectVerdict
    words: str
    relative: float
    bands: list[EffectAt]
    blocks: list[EffectAt]
    strengths: list[EffectAt]


@dataclass(frozen=True)
class LossBand:
    """Held-out loss of base and adapter at one time, and their relative change."""

    t: float
    base: float
    adapted: float
    change: Figure


@dataclass(frozen=True)
class LossAgainstBase:
    """`change` is (adapted - base) / base over all times: below zero is better."""

    clips: int
    base: float
    adapted: float
    change: Figure
    bands: list[LossBand]


@dataclass(frozen=True)
class DistanceTo:
    """Squared MMD to the held-out takes, in one space (`drum descriptors` or `latents of the base`). `floor` is the
    distance of the player's own training takes; `gain` by how much the adapted base is closer than the base."""

    space: str
    base: float
    adapted: float
    floor: float
    gain: Figure


@dataclass(frozen=True)
class Asked:
    """Something asked for against what came: `base` and `adapted` are shares that came as asked."""

    what: str
    sounds: int
    base: float
    adapted: float
    how: str


@dataclass(frozen=True)
class LossAtStrength:
    """Held-out loss of the adapter at a strength; the one at 0 is the base's."""

    strength: float
    held_out: float


@dataclass(frozen=True)
class Learned:
    """Does it play like the player? `training` is the loss on as many training clips, measured alike."""

    verdict: LearnedVerdict
    words: str
    held_out: LossAgainstBase | None
    training: LossAgainstBase | None
    distances: list[DistanceTo]
    asked: list[Asked]
    strengths: list[LossAtStrength] = field(default_factory=list)


@dataclass(frozen=True)
class KeptAt:
    """At a strength: distance (squared MMD of drum descriptors) of what it plays for prompts outside of the set to what
    the base plays for them with other seeds, and the relative change of the prediction for these prompts.
    `above_floor` is the distance less the floor; `latents` the distance in the base's own latents."""

    strength: float
    distance: float
    relative: float
    latents: float | None = None
    above_floor: Figure | None = None


@dataclass(frozen=True)
class Kept:
    """Can it still do what the base could? `floor` is the distance between two sets of seeds of the base itself,
    `player` that of the player's training takes to them: as far as another player is."""

    verdict: KeptVerdict
    words: str
    floor: float
    strengths: list[KeptAt]
    player: float | None = None
    floor_latents: float | None = None


@dataclass(frozen=True)
class Copy:
    """The training segment that is nearest to a generated sound.

    `waveform` is the correlation of the waveforms at 8 kHz, `spectrogram` that of the log-mel spectrograms, each that
    of its own nearest segment; `shift` says at what speed (1 is unchanged) the segment was found. Times are in seconds;
    `clip_seconds` and `sound_seconds` are where the two begin to be alike, `length_seconds` for how long.
    `waveform_seconds` is the length over which `waveform` was measured, `waveform_threshold` from where on it would be
    a copy: the longer, the lower. A silent sound has no clip.
    """

    sound: str
    verdict: CopyVerdict
    clip: str
    recording: str
    waveform: float
    spectrogram: float
    shift: float
    sound_seconds: float
    clip_seconds: float
    length_seconds: float
    waveform_seconds: float = 2.0
    waveform_threshold: float = 0.93


@dataclass(frozen=True)
class Copied:
    """Does it repeat what it was trained on? Thresholds (of the waveform over two seconds), with what they are
    calibrated by: how near the player's held-out takes are to the training clips (the highest of each detector)."""

    verdict: Literal["copies", "same grooves", "new"]
    words: str
    waveform_threshold: float
    spectrogram_threshold: float
    held_out_waveform: float | None
    held_out_spectrogram: float | None
    nearest: list[Copy]


@dataclass(frozen=True)
class CheckpointFigures:
    """What is known of one checkpoint of the run."""

    step: int
    held_out_loss: float | None
    training_loss: float | None
    relative: float | None


@dataclass(frozen=True)
class Recommendation:
    """Which adapter, at what strength, and what to do next; `reasons` are sentences with their figures."""

    action: Action
    words: str
    step: int
    folder: str
    strength: float
    reasons: list[str]


@dataclass(frozen=True)
class Evaluation:
    """All that was found of one adapter of a run. `settings` say how it was measured, `base` its name and
    `base_fingerprint`."""

    run: str
    adapter: str
    step: int
    base: str
    base_fingerprint: str
    date: str
    seconds: float
    settings: dict[str, Any]
    effect: Effect
    learned: Learned
    kept: Kept
    copied: Copied
    checkpoints: list[CheckpointFigures]
    recommendation: Recommendation
    sounds: list[Sound] = field(default_factory=list)
