"""The first use of a base: its licence is shown and asked for, and without an answer nothing is loaded."""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib.resources import files
from pathlib import Path

from finetune.errors import WoodshedError
from finetune.licences import Licence, accept, acceptances, commercial_lines, read_licences, text_of
from finetune.progress import say
from finetune.rank import processes

SHOWN_LINES = 12


def check_accepted(root: Path, base: str) -> None:
    """Return when every licence in the folder `root` of the base called `base` was accepted, or is now, at a terminal.

    Raises WoodshedError, which says how to, where nobody is there to ask, or they would not.
    """
    licences = read_licences(root)
    if not licences:
        _say_once(
            f"The base '{base}' has no licence file beside its weights; what it allows is not known here."
        )
        return
    known = acceptances()
    waiting = [
        licence for licence in licences if licence.sha256 not in known and licence.sha256 != own_licence()
    ]
    if not waiting:
        return
    if not _can_ask():
        titles = ", ".join(f"“{licence.title}”" for licence in waiting)
        raise WoodshedError(
            f"The base '{base}' comes under {titles}, which nobody has accepted here yet. Read it with "
            f'`woodshed licence {base}`, and accept it with: woodshed licence {base} --accept --name "YOUR NAME"'
        )
    for licence in waiting:
        _ask(licence, base)


def _can_ask() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty() and processes() == 1


def _ask(licence: Licence, base: str) -> None:
    """Show where a licence lies and what its lines on money are, and take a name as its acceptance."""
    say(f"\nFirst use of '{base}'. It comes under “{licence.title}”:\n  {licence.file}")
    quoted = list(commercial_lines(text_of(licence.file)))
    if quoted:
        say("Lines of it that speak of money, selling or attribution, as they stand there:")
    for number, line in quoted[:SHOWN_LINES]:
        say(f"  {number:>4}  {line}")
    if len(quoted) > SHOWN_LINES:
        say(f"  and {len(quoted) - SHOWN_LINES} more; the whole text: woodshed licence {base}")
    say("Type your name to accept it, or nothing to stop:")
    name = sys.stdin.readline().strip()
    if not name:
        raise WoodshedError(f"The licence of '{base}' was not accepted, so it was not used.")
    made = accept(licence, base, name)
    say(f"Recorded: accepted by {made.accepted_by}, {made.accepted_at}.")


@cache
def own_licence() -> str:
    """The SHA-256 of Woodshed's own licence: the starter's, also where an adapter was merged into it."""
    own = files("finetune") / "base_model" / "starter" / "weights" / "LICENSE"
    return hashlib.sha256(own.read_bytes()).hexdigest()


@cache
def _say_once(sentence: str) -> None:
    say(sentence)
