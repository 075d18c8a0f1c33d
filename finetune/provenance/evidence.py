"""Everything about an adapter that lies at hand, read once; of what cannot be read, the sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.errors import WoodshedError
from finetune.provenance.ancestry import record_folder
from finetune.provenance.dsse import Envelope, read_envelope
from finetune.provenance.place import HEADER, Place, cards
from finetune.provenance.statement import PREDICATE, STATEMENT


@dataclass(frozen=True)
class Evidence:
    """`claims` are those of the statement, else of the header; `run` is the folder with the record of the training set;
    `header_fault` and `statement_fault` say what is wrong with one that cannot be read."""

    place: Place
    cards: dict[str, dict[str, Any]]
    header_fault: str | None
    envelope: Envelope | None
    statement: dict[str, Any] | None
    statement_fault: str | None
    run: Path | None

    @property
    def header_claims(self) -> dict[str, Any] | None:
        return next(
            (card[HEADER] for card in self.cards.values() if isinstance(card.get(HEADER), dict)), None
        )

    @property
    def claims(self) -> dict[str, Any] | None:
        return self.statement["predicate"]["claims"] if self.statement else self.header_claims


def gather(place: Place) -> Evidence:
    header_fault = statement_fault = None
    found: dict[str, dict[str, Any]] = {}
    envelope = statement = None
    try:
        found = cards(place)
    except WoodshedError as error:
        header_fault = str(error)
    if place.statement.is_file():
        try:
            envelope = read_envelope(place.statement.read_bytes(), f"'{place.statement.name}'")
            statement = checked(envelope.statement())
        except WoodshedError as error:
            statement_fault = str(error)
    return Evidence(
        place, found, header_fault, envelope, statement, statement_fault, record_folder(place.path)
    )


def checked(statement: dict[str, Any]) -> dict[str, Any]:
    """A statement of the kind that Woodshed makes; WoodshedError for another one."""
    try:
        as_ours = statement["_type"] == STATEMENT and statement["predicateType"] == PREDICATE
        claims = statement["predicate"]["claims"]
        whole = all(isinstance(claims[key], dict) for key in ("base", "recipe", "training_set", "rights"))
        named = all(
            isinstance(subject["name"], str) and isinstance(subject["digest"], dict)
            for subject in statement["subject"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise WoodshedError(f"The statement lacks {error}.") from error
    if not (as_ours and whole and named):
        raise WoodshedError(
            f"The statement is of another kind: Woodshed reads {PREDICATE}. A newer Woodshed may read it."
        )
    return statement
