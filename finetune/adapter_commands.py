"""The verbs on adapters as files: export, convert, inspect. Everything heavy is imported where it is used."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from finetune.command_line import AsJson, words

if TYPE_CHECKING:
    from finetune.export import Exported
    from finetune.inspect_adapter import Inspected
    from finetune.model_card import Card


class To(StrEnum):
    """Programs, as --to names them."""

    peft = "peft"
    diffusers = "diffusers"
    stable_audio_3 = "stable-audio-3"
    comfyui = "comfyui"
    merged = "merged"


class Dtype(StrEnum):
    """Number formats, as --dtype names them."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


Out = Annotated[Path | None, typer.Option("--out", "-o", help="File to write; for peft and merged a folder.")]
Numbers = Annotated[
    Dtype | None,
    typer.Option(
        help="Unsaid: fp32 for peft and diffusers, fp16 for the others; merged: as the base's weights."
    ),
]
Base = Annotated[str | None, typer.Option(help="The base: a name or a folder.")]
Trigger = Annotated[
    str | None, typer.Option(help="The word that calls the adapter, noted in the file's header.")
]

NO_LICENCE = (
    "No licence file of the base was found, and none lies beside; name the base with --base where it has one."
)
WithCard = Annotated[
    bool,
    typer.Option(
        "--card/--no-card",
        help="A model card, and the licence files of the base, in the folder or beside the file.",
    ),
]


def export(
    run: Annotated[
        Path, typer.Argument(help="A run, such as runs/mykit, or runs/mykit/best for its best adapter.")
    ],
    to: Annotated[To, typer.Option(help="The program that will read it.")],
    out: Out = None,
    dtype: Numbers = None,
    base: Base = None,
    trigger: Trigger = None,
    card: WithCard = True,
    as_json: AsJson = False,
) -> None:
    """Write a run's adapter for another program, into RUN/export/ unless --out says where.

    RUN is its adapter at the end of training, RUN/best the one with the lowest held-out loss.

    The file is read back, put on a fresh copy of the base, and its predictions are compared with those of the adapter
    as it was trained; one that differs is not kept.

    Example: woodshed export runs/mykit --to stable-audio-3
    """
    from finetune.adapter_option import adapter_name
    from finetune.export import export as write
    from finetune.hear import base_of

    folder = run.parent if run.name in ("adapter", "best") else run
    place = out or folder / "export" / _name(adapter_name(run), to)
    _check_card(place, card)
    done = write(run, to.value, place, _value(dtype), base or base_of(run), trigger)
    _report(done, _card(done, folder, trigger) if card else None, as_json)


def convert(
    file: Annotated[Path, typer.Argument(help="An adapter of any program: a .safetensors file or a folder.")],
    to: Annotated[To, typer.Option(help="The program that will read it.")],
    out: Out = None,
    dtype: Numbers = None,
    base: Base = None,
    trigger: Trigger = None,
    card: WithCard = True,
    as_json: AsJson = False,
) -> None:
    """Write an adapter of any program for another, beside it unless --out says where.

    With --base the predictions of both are compared on that base, else their matrices.

    Example: woodshed convert mykit.safetensors --to comfyui
    """
    from finetune.export import export as write
    from finetune.provenance.ancestry import record_folder

    place = out or file.parent / _name(file.stem if file.is_file() else file.name, to)
    _check_card(place, card)
    done = write(file, to.value, place, _value(dtype), base, trigger)
    _report(done, _card(done, record_folder(file), trigger) if card else None, as_json)


def inspect(
    file: Annotated[Path, typer.Argument(help="A run, an adapter folder, or a .safetensors file.")],
    base: Base = None,
    as_json: AsJson = False,
) -> None:
    """Say what an adapter is: kind, rank, modules, size of its effect in each block, base, licence, words.

    With --base the effect is told relative to that base's weights.

    Example: woodshed inspect mykit.safetensors
    """
    from finetune.inspect_adapter import inspect as look

    seen = look(file, base)
    if as_json:
        print(json.dumps({"ok": True, **dataclasses.asdict(seen)}))
    else:
        _show(seen)


def _name(stem: str, to: To) -> str:
    return f"{stem}-{to.value}" + ("" if to in (To.peft, To.merged) else ".safetensors")


def _value(dtype: Dtype | None) -> str | None:
    return None if dtype is None else dtype.value


def _check_card(place: Path, wanted: bool) -> None:
    from finetune.model_card import check_free

    if wanted:
        check_free(place)


def _card(done: Exported, run: Path | None, trigger: str | None) -> Card:
    from finetune.model_card import write_card

    return write_card(done, run, trigger)


def _report(done: Exported, card: Card | None, as_json: bool) -> None:
    if as_json:
        written = dataclasses.asdict(card) if card else {"card": None, "licences": []}
        print(json.dumps({"ok": True, **dataclasses.asdict(done), **written}))
        return
    words.print(f"{escape(done.out)}: {done.kind}, {done.modules} modules, {done.dtype}")
    words.print(f"Read back: {done.compared} differ by {done.error:.1e} of the adapter's effect.")
    if card is not None:
        words.print(escape(f"Model card: {card.card}"))
        for licence in card.licences:
            words.print(escape(f"Licence of the base: {licence}"))
        if not card.licences:
            words.print(NO_LICENCE)
    for note in done.notes:
        words.print(escape(note))


def _show(seen: Inspected) -> None:
    facts: dict[str, Any] = {
        "file": seen.file,
        "format": seen.format,
        "kind": seen.kind,
        "rank": ", ".join(map(str, seen.ranks)),
        "alpha": ", ".join(f"{alpha:g}" for alpha in seen.alphas),
        "modules": seen.modules,
        "parameters": f"{seen.parameters:,}",
        "fits": seen.fits,
        "provenance": seen.provenance,
    }
    ours = "woodshed" in seen.facts  # what such a file says under ss_ is said above
    said = {key: text for key, text in seen.facts.items() if key not in ("format", "woodshed", "hash")}
    said = {key: text for key, text in said.items() if not (ours and key.startswith("ss_"))}
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key, value in (facts | said).items():
        if value:
            table.add_row(escape(key), escape(str(value)))
    words.print(table)
    if seen.needs_base:
        words.print(escape(seen.needs_base))
        return
    blocks = Table("block", "modules", "norm of change", "of the weights", box=None, pad_edge=False)
    for effect in seen.effects:
        relative = "" if effect.relative is None else f"{effect.relative:.2%}"
        blocks.add_row(effect.block, str(effect.modules), f"{effect.norm:.4g}", relative)
    words.print(blocks)
