"""What a musician asks `woodshed generate` for, and what of it can be checked before a base is loaded."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetune.adapter_option import AdapterOption, check_strength, read_option
from finetune.audio_files import audio_kind, file_seconds
from finetune.base_model import is_base
from finetune.errors import WoodshedError
from finetune.generate import Request
from finetune.given import read_spans

DEFAULT_SECONDS = 4.0
SAMPLE_RATE = 44_100  # of every Stable Audio 3; here only for what is checked early


@dataclass(frozen=True)
class Wanted:
    """What a musician asks for; None stands for what suits the base, the adapters and the file given.

    `base` None is the one that the first adapter was trained on. `init` is a file to begin from, mixed with `noise`;
    its ranges `keep` (`0-4`, in seconds) stay, as samples if `splice`. `piece` is the length of the piece that the
    sound is part of. `like` is what an earlier file says of itself, for adapters whose strength is not said.
    `credentials`: content credentials go into each file.
    """

    out: Path
    prompt: str
    base: str | None = None
    adapters: tuple[AdapterOption, ...] = ()
    seeds: tuple[int, ...] = (0,)
    batch: int = 1
    negative_prompt: str | None = None
    seconds: float | None = None
    piece: float | None = None
    headroom: float = 0.0
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    init: Path | None = None
    noise: float | None = None
    keep: tuple[str, ...] = ()
    splice: bool = True
    bits: int = 24
    like: dict[str, Any] | None = None
    credentials: bool = False


def read_source(
    source: str, strength: float | None, base: str | None
) -> tuple[str | None, tuple[AdapterOption, ...]]:
    """The base and the adapter that the first argument names: a base and none, or no base and one adapter."""
    if is_base(source):
        if base not in (None, source):
            raise WoodshedError(
                f"'{source}' is itself a base; leave --base {base} out, or name an adapter first."
            )
        if strength is not None:
            raise WoodshedError(
                f"'{source}' is a base, which has no strength; give it to an adapter: --adapter PATH:{strength:g}."
            )
        return source, ()
    option = read_option(source)
    if strength is not None and option.strength is not None:
        raise WoodshedError(f"'{source}' names a strength already; leave --strength {strength:g} out.")
    return base, (option if strength is None else replace(option, strength=check_strength(strength)),)


def out_files(wanted: Wanted) -> list[Path]:
    """One name for each seed: `--out` itself for one, with the seed in it for several. Nothing is overwritten that is
    read."""
    _check_place(wanted.out)
    audio_kind(wanted.out, wanted.bits)
    if len(set(wanted.seeds)) < len(wanted.seeds):
        raise WoodshedError("A seed is asked for twice; it would be the same sound twice.")
    if wanted.batch < 1:
        raise WoodshedError(f"--batch {wanted.batch} is out of range: at least 1.")
    many = len(wanted.seeds) > 1
    name = wanted.out
    files = [name.with_stem(f"{name.stem}-{seed}") if many else name for seed in wanted.seeds]
    for file in files:
        if wanted.init is not None and file.exists() and wanted.init.exists() and file.samefile(wanted.init):
            raise WoodshedError(
                f"'{file}' is the file of --init, which would be overwritten; choose another --out."
            )
    return files


def _check_place(out: Path) -> None:
    """Raise WoodshedError before minutes of work where a file cannot be written in the end."""
    if out.is_dir():
        raise WoodshedError(
            f"'{out}' is a folder; name the file to write in it, such as {out / 'sound.wav'}."
        )
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise WoodshedError(f"'{out}' cannot be written: '{parent}' is no folder that you may write to.")


def seconds_of(wanted: Wanted) -> float:
    """The length of the sound: as said, that of the file to begin from, or 4. What is said of that file is checked."""
    if wanted.init is None:
        if wanted.keep or wanted.noise is not None:
            raise WoodshedError("--keep and --noise need a sound to begin from: name its file with --init.")
        return DEFAULT_SECONDS if wanted.seconds is None else wanted.seconds
    if wanted.noise is not None and not 0.01 <= wanted.noise <= 1:
        raise WoodshedError(
            f"--noise {wanted.noise:g} is out of range: from 0.01, hardly changed, to 1, nothing left of the sound."
        )
    lasts = file_seconds(wanted.init)
    seconds = lasts if wanted.seconds is None else wanted.seconds
    if math.isfinite(seconds):  # else it is refused with the other numbers
        read_spans(wanted.keep, round(lasts * SAMPLE_RATE), round(seconds * SAMPLE_RATE), SAMPLE_RATE)
    return seconds


def make_request(wanted: Wanted, seconds: float, post_trained: bool) -> Request:
    """The request, of any seed, and what the kind of base is sampled with by its makers where nothing is said."""
    steps, guidance, sampler = (8, 1.0, "pingpong") if post_trained else (50, 4.0, "euler")
    return Request(
        wanted.prompt,
        seconds,
        wanted.seeds[0],
        wanted.steps if wanted.steps is not None else steps,
        wanted.guidance if wanted.guidance is not None else guidance,
        wanted.piece,
        wanted.negative_prompt,
        wanted.sampler or sampler,
        wanted.headroom,
    )
