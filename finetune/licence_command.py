"""`woodshed licence`: parse, call, print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from finetune.command_line import AsJson, report
from finetune.errors import WoodshedError


@dataclass(frozen=True)
class Quoted:
    """A line of a licence, and its number in the file."""

    line: int
    text: str


@dataclass(frozen=True)
class Shown:
    """One licence of a base; `accepted_by` and `accepted_at` are None where nobody accepted it on this machine."""

    file: Path
    title: str
    sha256: str
    commercial: list[Quoted]
    accepted_by: str | None
    accepted_at: str | None
    text: str


@dataclass(frozen=True)
class Terms:
    base: str
    licences: list[Shown]


def licence(
    base: Annotated[
        str, typer.Argument(help="A base: starter, small-music-base, a folder, OWNER/NAME on the Hub.")
    ],
    accepting: Annotated[
        bool, typer.Option("--accept", help="Record that the licence is accepted, by whom and when.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Who accepts it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the licence of a base, whole, and the lines of it that speak of money, selling or attribution.

    They are quoted as they stand in the file, and not judged: what they mean for you, you decide. A base is not used
    before its licence was accepted once, here or where a terminal asked; an acceptance is of this very text, and
    another text is asked for anew. The starter is a part of Woodshed and nothing is asked.

    Example: woodshed licence small-music-base --accept --name "Ada"
    """
    from finetune.base_model import find_base
    from finetune.licences import accept, read_licences

    if accepting and not name:
        raise typer.BadParameter('say who accepts it: --name "YOUR NAME"')
    if name and not accepting:
        raise typer.BadParameter("--name goes with --accept.")
    licences = read_licences(find_base(base))
    if not licences:
        raise WoodshedError(f"There is no licence file beside the weights of '{base}'.")
    for each in licences if name else []:
        accept(each, base, name or "")
    terms = Terms(base, [_shown(each.file, each.title, each.sha256) for each in licences])
    report(terms, as_json, escape("\n\n".join(map(_page, terms.licences))))


def _shown(file: Path, title: str, sha256: str) -> Shown:
    from finetune.licences import acceptances, commercial_lines, text_of

    text = text_of(file)
    accepted = acceptances().get(sha256)
    return Shown(
        file=file,
        title=title,
        sha256=sha256,
        commercial=[Quoted(*line) for line in commercial_lines(text)],
        accepted_by=accepted.accepted_by if accepted else None,
        accepted_at=accepted.accepted_at if accepted else None,
        text=text,
    )


def _page(shown: Shown) -> str:
    from finetune.first_use import own_licence

    lines = [shown.text.rstrip(), "", f"{shown.file}", f"SHA-256 {shown.sha256}"]
    if shown.commercial:
        lines += ["Lines that speak of money, selling or attribution:"]
        lines += [f"  {each.line:>4}  {each.text}" for each in shown.commercial]
    if shown.accepted_by:
        lines.append(f"Accepted by {shown.accepted_by}, {shown.accepted_at}.")
    elif shown.sha256 == own_licence():
        lines.append("It is Woodshed's own: nothing is asked.")
    else:
        lines.append("Not accepted on this machine.")
    return "\n".join(lines)
