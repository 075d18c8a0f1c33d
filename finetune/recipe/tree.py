"""The one file that says everything about a run: a typed tree, one line of help a field, strict when read.

Groups stand in the order of the run. Relative paths are relative to the working directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from omegaconf import OmegaConf


def option(
    default: Any, help: str, low: float | None = None, high: float | None = None, above: float | None = None
) -> Any:
    """A field with its line of help and its range; `low` and `high` are in it, `above` is not."""
    metadata = {"help": help, "low": low, "high": high, "above": above}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class BaseGroup:
    model: str = option("starter", "'starter', a base's name on the Hub (small-music-base), or its folder")
    dtype: Literal["auto", "float32", "bfloat16", "int8", "nf4"] = option(
        "auto", "how the frozen base lies in memory; auto is bfloat16 on a GPU and float32 on a CPU"
    )
    shard: bool = option(False, "several processes cut the base up and keep a part each: slower, less memory")


@dataclass
class DataGroup:
    dataset: str = option("???", "folder that `woodshed prep` wrote")
    crop_seconds: float = option(20.0, "longer clips are cropped to this, at random", above=0, high=384)
    length: Literal["whole", "excerpt"] = option(
        "whole", "whole: a clip is a piece that ends; excerpt: it is a part of its recording, which goes on"
    )
    crop: Literal["random", "bars", "whole"] = option(
        "random", "random: anywhere; bars: whole bars from a bar line, where they are known; whole: no crops"
    )
    captions: Literal["canonical", "varied", "composed"] = option(
        "varied", "canonical: one caption; varied: one of its wordings each time; composed: of its facts anew"
    )
    wordings: int = option(16, "composed: different captions of a clip, at most", low=1, high=1000)
    trigger: str | None = option(None, "word that calls the adapter; null leaves captions as they are")
    trigger_share: float = option(0.8, "share of the captions that carry data.trigger", low=0, high=1)


@dataclass
class AdapterGroup:
    kind: Literal["lora", "dora"] = option("lora", "lora, or dora (which also learns the size of each row)")
    rank: int = option(16, "width of the adapter: more learns more, and overfits sooner", low=1, high=1024)
    alpha: float | None = option(None, "strength alpha / rank; null is alpha = rank", above=0)
    targets: Literal["attention", "attention+ff", "all"] = option(
        "all", "layers of the base that are adapted"
    )
    duration_embedder: bool = option(False, "adapt what the base knows of lengths too; not on small sets")
    dropout: float = option(0.0, "share of the adapter's inputs dropped while training", low=0, high=0.9)
    layers: str | None = option(None, "blocks of the base that are adapted, as 0-7,12; null: all of them")
    rank_stabilised: bool = option(False, "strength alpha / √rank (rsLoRA), for high ranks")
    init_from: str | None = option(None, "adapter to go on from, of any format; null starts from nothing")


@dataclass
class TrainingGroup:
    steps: int = option(1000, "optimizer steps of the whole run", low=1)
    batch_size: int = option(1, "clips in one pass through the base", low=1)
    gradient_accumulation: int = option(1, "passes in one step: their gradients are averaged", low=1)
    checkpoint_every: int = option(100, "steps between checkpoints", low=1)
    keep_checkpoints: int = option(2, "newest checkpoints that are kept", low=1)
    gradient_checkpointing: Literal["auto", "on", "off"] = option(
        "auto",
        "compute activations again instead of keeping them; auto: in as many blocks as memory asks for",
    )
    max_gradient_norm: float | None = option(
        1.0, "longer gradients are shortened to this norm; null: never", above=0
    )
    conditioning_dropout: float = option(0.1, "share of clips trained without a prompt", low=0, high=1)
    inpainting: bool = option(True, "train to fill gaps and to continue, as the base was")
    inpainting_shares: list[float] = option(  # noqa: RUF009
        [0.1, 0.8, 0.1], "shares of clips with random gaps, with everything to make, with a given beginning"
    )
    context_loss: float = option(1.0, "inpainting: weight of the loss on what is given", low=0, high=100)
    silence_seconds: float = option(4.0, "mean silence added after whole clips (data.length: whole)", low=0)
    optimal_transport: bool = option(True, "pair noise and clips within a batch by distance")
    length_shift: bool = option(True, "shift noise levels by the clip's length, as the base was trained")
    polarity_flip: float = option(
        0.5, "share of clips heard upside down; above 0 encodes them twice", low=0, high=1
    )
    ema: float | None = option(
        None, "decay of a moving average of the adapter, which is used then, as 0.999", above=0, high=0.99999
    )
    prior_share: float = option(
        0.0, "share of passes on what the base itself plays, to keep it", low=0, high=0.9
    )
    prior_clips: int = option(50, "clips that the base plays for this before training", low=1)
    prior_weight: float = option(1.0, "weight of the loss on them", above=0, high=100)
    prior_prompts: list[str] = option([], "what it plays; an empty list: captions without data.trigger")  # noqa: RUF009
    device: Literal["auto", "cpu", "cuda"] = option("auto", "auto is the GPU where there is one")
    compile: bool = option(
        False, "compile the blocks with torch.compile: minutes at first, for long runs on a GPU"
    )
    loader_workers: int = option(2, "threads that prepare the next batches; 0: none", low=0, high=64)


@dataclass
class OptimizerGroup:
    name: Literal["adamw8bit", "adamw", "lion8bit", "pagedadamw8bit", "prodigy"] = option(
        "adamw8bit", "the 8-bit ones need a quarter of the memory; prodigy finds the rate by itself"
    )
    learning_rate: float = option(1e-4, "size of a step once warmed up; 1 for prodigy", above=0, high=1)
    lora_plus: float = option(1.0, "how many times as fast B learns as A; 16 is LoRA+", low=1, high=100)
    betas: list[float] = option([0.9, 0.95], "memory of the gradient and of its size")  # noqa: RUF009
    weight_decay: float = option(0.01, "pull of the adapter towards nothing", low=0, high=1)
    warmup_steps: int = option(0, "steps over which the learning rate rises from nothing", low=0)
    schedule: Literal["constant", "cosine", "inverse"] = option(
        "constant", "cosine falls to nothing at the last step; inverse falls ever more slowly"
    )
    inverse_steps: float = option(1000.0, "inverse: rate / (1 + step / inverse_steps)^inverse_power", above=0)
    inverse_power: float = option(
        0.5, "inverse: 0.5 falls as one over the root of the steps", above=0, high=4
    )


@dataclass
class ValidationGroup:
    every: int = option(100, "steps between held-out losses; first and last step always have one", low=1)
    clips: int = option(64, "held-out clips that are looked at, at most", low=1)
    draws: int = option(1, "draws of noise for each clip and noise level", low=1)
    patience: int | None = option(
        None, "stop after so many held-out losses without a new best; null: never", low=1
    )


@dataclass
class SamplesGroup:
    every: int = option(250, "steps between samples, which the first and last step have too; 0: none", low=0)
    prompts: list[str] = option([], "what to generate; an empty list: captions of two clips")  # noqa: RUF009
    seconds: float | None = option(None, "length of a sample; null: of the longest clip", above=0, high=384)
    steps: int = option(50, "Euler steps of a sample", low=1, high=1000)
    guidance: float = option(4.0, "how closely a sample follows its prompt; 1 is no guidance", low=0, high=50)
    seed: int = option(0, "seed of the first sample; the next prompts take the next seeds", low=0)


@dataclass
class EvaluationGroup:
    at_end: bool = option(False, "evaluate the run when its training ends, as `woodshed evaluate` does")
    sounds: int = option(
        6, "captions of held-out and of training clips, and other prompts, that are played", low=2
    )
    seeds: int = option(2, "sounds for each of them", low=1)
    steps: int = option(30, "Euler steps of each sound", low=1, high=1000)
    minutes: float | None = option(None, "play fewer, so that it takes about so long; null: all", above=0)


@dataclass
class TrackingGroup:
    wandb: Literal["off", "offline", "online"] = option(
        "off", "Weights & Biases: off, kept on this disk, or sent"
    )
    project: str = option("woodshed", "Weights & Biases project")
    entity: str | None = option(None, "whose project it is, you or a team; null is your account's default")
    upload_audio: bool = option(False, "send samples and their spectrograms; recordings are never sent")
    upload_adapter: bool = option(False, "send the adapter's weights; without it only its card and hashes")
    upload_checkpoints: bool = option(False, "send checkpoints, so that the run can go on on another machine")


@dataclass
class OutputGroup:
    root: str = option("runs", "the run's folder is made in here, under its name; the cache of latents too")


@dataclass
class Recipe:
    name: str = option("???", "name of the run and of its folder")
    seed: int = option(0, "seed of everything that is drawn at random", low=0)
    base: BaseGroup = field(default_factory=BaseGroup)
    data: DataGroup = field(default_factory=DataGroup)
    adapter: AdapterGroup = field(default_factory=AdapterGroup)
    training: TrainingGroup = field(default_factory=TrainingGroup)
    optimizer: OptimizerGroup = field(default_factory=OptimizerGroup)
    validation: ValidationGroup = field(default_factory=ValidationGroup)
    samples: SamplesGroup = field(default_factory=SamplesGroup)
    evaluation: EvaluationGroup = field(default_factory=EvaluationGroup)
    tracking: TrackingGroup = field(default_factory=TrackingGroup)
    output: OutputGroup = field(default_factory=OutputGroup)


def to_yaml(recipe: Recipe) -> str:
    """The whole recipe, defaults included, as YAML in the order of the run."""
    return OmegaConf.to_yaml(OmegaConf.structured(recipe))


def values(recipe: Recipe) -> dict[str, Any]:
    """Dotted key → value, for every key."""
    return {
        f"{group.name}.{key.name}" if key else group.name: getattr(part, key.name) if key else part
        for group in fields(recipe)
        for part in [getattr(recipe, group.name)]
        for key in (fields(part) if is_dataclass(part) else [None])
    }


def differing_keys(one: Recipe, other: Recipe) -> list[str]:
    """Dotted keys whose values differ, in the recipe's order."""
    first, second = values(one), values(other)
    return [key for key in first if first[key] != second[key]]


def options() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(dotted key, default, metadata) of every key: help and range."""
    defaults = values(Recipe())
    for group in fields(Recipe):
        part = getattr(Recipe(), group.name)
        for key in fields(part) if is_dataclass(part) else [group]:
            dotted = f"{group.name}.{key.name}" if is_dataclass(part) else group.name
            yield dotted, defaults[dotted], dict(key.metadata)
