"""An adapter written again for another program: its card says what it was written from, and by whom that was signed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from finetune.adapter.formats import locate
from finetune.adapter.formats.metadata import CARD
from finetune.provenance.canonical import file_sha256
from finetune.provenance.evidence import gather
from finetune.provenance.place import HEADER, find_place
from finetune.provenance.signature import look_at
from finetune.provenance.stated import check_tensors

NOT_CARRIED = (
    "Where this adapter comes from is not carried along: its files are not those that its statement names, or the "
    "signature does not hold. `woodshed verify` says more."
)


def derived_facts(source: Path, facts: Mapping[str, str], program: str) -> tuple[dict[str, str], list[str]]:
    """The facts of an adapter read from `source` as they are to be written for `program`, and notes for the user.

    Claims whose statement does not hold are left out: what is written would give them a new signature.
    """
    card = json.loads(facts.get(CARD, "{}"))
    claims = card.get(HEADER)
    if not isinstance(claims, dict):
        return dict(facts), []
    evidence = gather(find_place(locate(source)[1]))
    seen = look_at(evidence.envelope) if evidence.envelope else None
    broken = (
        check_tensors(evidence).status == "failed"
        or evidence.statement_fault
        or (seen and seen.state == "invalid")
    )
    if broken or evidence.claims != evidence.header_claims:
        del card[HEADER]
        return {**facts, CARD: json.dumps(card, sort_keys=True)}, [NOT_CARRIED]
    statement = evidence.place.statement
    claims["derived_from"] = {
        "program": program,
        "statement_sha256": file_sha256(statement) if statement.is_file() else None,
        "signed_by": seen.key_id if seen else None,
        "derived_from": claims.get("derived_from"),
    }
    return {**facts, CARD: json.dumps(card, sort_keys=True)}, []
