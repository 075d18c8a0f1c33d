"""Whose recordings these are, and by what right they may be learned from: stated first, kept with every slice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Basis(StrEnum):
    own_recording = "own_recording"
    work_for_hire = "work_for_hire"
    licensed = "licensed"
    cc0 = "cc0"
    public_domain = "public_domain"


RIGHTS_FIRST = (
    "Rights come first: an adapter carries what it learned from wherever it goes, and a right that was not stated "
    "before cannot be shown afterwards; say --basis own_recording, work_for_hire, licensed, cc0 or public_domain "
    "and --recorded-by NAME."
)


@dataclass(frozen=True)
class Rights:
    """One statement for all recordings of a library. `licence` is the text or name of the licence, `source` where
    the recordings come from; a licensed basis needs the licence."""

    basis: Basis
    recorded_by: str
    licence: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if not self.recorded_by.strip():
            raise ValueError(RIGHTS_FIRST)
        if self.basis is Basis.licensed and not (self.licence or "").strip():
            raise ValueError(
                "The basis licensed needs the licence: say --licence with its name or where it is kept."
            )

    @property
    def key(self) -> str:
        """Names this statement in the manifest: the basis and a hash of the rest."""
        text = "\0".join([self.basis, self.recorded_by, self.licence or "", self.source or ""])
        return f"{self.basis}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"

    def row(self, date: str) -> dict[str, str | None]:
        """The line of rights.jsonl; `date` (ISO) is the day the statement was made."""
        return {
            "rights": self.key,
            "basis": str(self.basis),
            "recorded_by": self.recorded_by,
            "licence": self.licence,
            "source": self.source,
            "date": date,
        }
