"""What `woodshed verify` finds: check after check, and the exit code that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Status = Literal["proved", "failed", "incomplete", "not asked"]
RIGHTS = "rights"
NOT_PROVED = (
    "that whoever stated the rights has them: a signature says who stated it, not who owns a recording",
    "what the base itself was trained on",
    "that nothing else was used: who signs could have trained on more and kept silent",
)


class Exit(IntEnum):
    proved = 0
    tampered = 2
    incomplete = 3
    rights = 4


@dataclass(frozen=True)
class Check:
    """`words` is a sentence: what holds, what does not, or what is missing and how to bring it."""

    check: str
    status: Status
    words: str


@dataclass(frozen=True)
class Verified:
    """`path` is the adapter, `signed_by` the fingerprint of the key under its statement."""

    path: str
    exit_code: int
    signed_by: str | None
    checks: Sequence[Check]
    not_proved: Sequence[str] = NOT_PROVED


def exit_code(checks: Sequence[Check]) -> Exit:
    """What was tampered with goes before rights that are missing, and those before evidence that is."""
    bad = {check.check for check in checks if check.status == "failed"}
    if bad - {RIGHTS}:
        return Exit.tampered
    if bad:
        return Exit.rights
    return Exit.incomplete if any(check.status == "incomplete" for check in checks) else Exit.proved


def some(names: Sequence[str], count: int = 3) -> str:
    """A few of the names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
