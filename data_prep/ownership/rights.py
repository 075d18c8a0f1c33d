"""Whose recordings these are, and by what right they may be learned from: stated first, kept with every slice."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from enum import StrEnum

from data_prep.files import PrepError


class Basis(StrEnum):
    own_recording = "own_recording"
    work_for_hire = "work_for_hire"
    licensed = "licensed"
    cc0 = "cc0"
    public_domain = "public_domain"


RIGHTS_FIRST = (
    "Rights come first: an adapter carries what it learned from wherever it goes, and a right that was not stated "
    "before cannot be shown afterwards; say --basis own_recording, work_for_hire, licensed, cc0 or public_domain "
    "and --recorded-by NAME, or write both into a rights.yaml beside the recordings."
)


class RightsError(PrepError):
    """A sentence: what is not known of the rights, or what a rights.yaml says that cannot be."""


@dataclass(frozen=True)
class Rights:
    """A statement. `recorded_by` whose recording it is, `licence` the text or name of the licence (a licensed basis
    needs it), `source` where it comes from; `played_by` who plays; `recording_owner` and `composition_owner` who owns
    the two, where it is another; `consent` of the players, `restrictions` that were agreed; `evidence` a file (path
    below the library) that shows it, with its SHA-256. ValueError, a sentence, for one that says too little."""

    basis: Basis
    recorded_by: str
    licence: str | None = None
    source: str | None = None
    played_by: str | None = None
    recording_owner: str | None = None
    composition_owner: str | None = None
    consent: str | None = None
    restrictions: str | None = None
    evidence: str | None = None
    evidence_sha256: str | None = None

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
        first = [self.basis, self.recorded_by, self.licence or "", self.source or ""]
        more = [f"{name}={value}" for name, value in asdict(self).items() if name in _MORE and value]
        text = "\0".join([*first, *more])
        return f"{self.basis}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"

    def row(self, date: str) -> dict[str, str | None]:
        """The line of rights.jsonl; `date` (ISO) is the day the statement was made."""
        return {"rights": self.key, **asdict(self), "basis": str(self.basis), "date": date}


_MORE = (
    "played_by", "recording_owner", "composition_owner", "consent", "restrictions", "evidence", "evidence_sha256",
)  # fmt: skip
