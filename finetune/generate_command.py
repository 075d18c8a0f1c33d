"""`woodshed generate`: parse, call, print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from finetune.command_line import AsJson, words
from finetune.errors import WoodshedError


def generate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="ADAPTER_OR_RUN",
            help="A run (its adapter at the end; RUN/best for the best), an adapter's folder or file, or a base such "
            "as 'starter'.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The file to write, .wav or .flac; several get their seed's number."
        ),
    ],
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", help="What to play, in the words of your captions.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of the sound; unsaid: 4, or that of the --init file.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="The same seed gives the same sound; repeatable. Unsaid: 0.")
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=1, max=9999, help="So many sounds, seeds going on from --seed.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Sounds computed at once, faster on a GPU.")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="0 is the base, exactly; 1 the adapter as trained; beyond exaggerates. Unsaid: 1."),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADAPTER",
            help="One more, as PATH:STRENGTH@FROM-TO#LAYERS; repeatable. kit:0.8, kit:0.5@0-0.6 to act where the noise "
            "is below 0.6, kit#0-9,attention for these blocks and modules alone.",
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Base to use instead of the one the adapter was trained on.")
    ] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What to lead away from.")] = None,
    steps: Annotated[
        int | None,
        typer.Option(help="Sampling steps: more is finer and slower. Unsaid: 50; 8 if post-trained."),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="How strictly to follow the prompt; 1 is none. Unsaid: 4; 1 if post-trained."),
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="euler, pingpong or dpmpp. Unsaid: euler; pingpong if post-trained.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="A sound file to begin from.")] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            help="How much of --init turns to noise first, to 1 for all. Unsaid: 0.4; with --keep 1."
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SECONDS", help="Range of --init that stays: 0-4, or 12- to its end; repeatable."
        ),
    ] = None,
    splice: Annotated[
        bool | None,
        typer.Option(
            "--splice/--no-splice", help="Put the very samples of --keep back, or leave the model's echo."
        ),
    ] = None,
    piece: Annotated[
        float | None,
        typer.Option(help="Seconds of the piece that the sound is part of. Unsaid: as the adapter learned."),
    ] = None,
    headroom: Annotated[
        float | None,
        typer.Option(help="Seconds generated after the end and cut away; Stability's program: 6."),
    ] = None,
    bits: Annotated[int | None, typer.Option(help="16, 24 or 32 (floating point, WAV alone).")] = None,
    like: Annotated[
        Path | None, typer.Option(help="A file of woodshed generate: as that one, but for what is said here.")
    ] = None,
    credentials: Annotated[
        bool,
        typer.Option(
            "--credentials",
            help="Put content credentials (C2PA) into the file: made by a model, with this adapter and base. Needs the "
            "extra c2pa and a key (woodshed keys); readers show the signer as unknown.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Generate sound with adapters, or with a base alone.

    Example: woodshed generate runs/mykit --prompt "mykit swung loop. BPM: 96" --seconds 5 --seed 1 --out mykit.wav
    """
    from finetune.adapter_option import read_option
    from finetune.audio_files import read_about
    from finetune.hear import hear
    from finetune.tags import said_in
    from finetune.wanted import Wanted, read_source

    about = None if like is None else read_about(like)
    said: dict[str, Any] = {
        "prompt": prompt, "seconds": seconds, "negative_prompt": negative_prompt, "steps": steps,
        "guidance": guidance, "sampler": sampler, "init": init, "noise": noise, "keep": keep and tuple(keep),
        "splice": splice, "piece": piece, "headroom": headroom, "bits": bits, "batch": batch,
        "seeds": _seeds(seed, count),
    }  # fmt: skip
    chosen = (said_in(about) if about else {}) | {
        key: value for key, value in said.items() if value is not None
    }
    if "prompt" not in chosen:
        raise WoodshedError("Say what you want to hear, for instance: --prompt 'kick one-shot'.")
    named, first = read_source(source, strength, base)
    more = tuple(read_option(text) for text in adapter or [])
    _report(
        hear(
            Wanted(out=out, base=named, adapters=first + more, like=about, credentials=credentials, **chosen)
        ),
        as_json,
    )


def _seeds(seeds: list[int] | None, count: int | None) -> tuple[int, ...] | None:
    if count is None:
        return tuple(seeds) if seeds else None
    if seeds and len(seeds) > 1:
        raise WoodshedError("--count goes on from one --seed; leave it out, or name one seed.")
    first = seeds[0] if seeds else 0
    return tuple(range(first, first + count))


def _report(done: dict[str, Any], as_json: bool) -> None:
    if done.get("differs"):
        words.print(f"Not as it was then: {', '.join(done['differs'])}.", markup=False)
    if as_json:
        print(json.dumps({"ok": True, **done}))
        return
    table = Table("file", "seconds", "seed", "peak dB", box=None, pad_edge=False)
    for each in done["files"]:
        table.add_row(each["file"], f"{done['seconds']:g}", str(each["seed"]), f"{each['peak_db']:.1f}")
    words.print(table)
