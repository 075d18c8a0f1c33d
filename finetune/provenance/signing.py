"""Signing what was stated before there was a key."""

from __future__ import annotations

from pathlib import Path

from finetune.errors import WoodshedError
from finetune.provenance.evidence import gather
from finetune.provenance.keys import read_key
from finetune.provenance.stated import check_tensors
from finetune.provenance.statement import write_statement
from finetune.provenance.verify import places


def sign_unsigned(path: Path) -> list[Path]:
    """Sign the statements of an adapter, or of all of a run's, that nobody has signed; returns those signed now.

    WoodshedError where there is no key, nothing to state, or files that are not what was stated.
    """
    if read_key() is None:
        raise WoodshedError("There is no key to sign with; make one with: woodshed keys")
    signed = []
    for place in places(path):
        evidence = gather(place)
        if evidence.header_claims is None:
            raise WoodshedError(
                f"'{place.path}' does not say what it was made from, so there is nothing to sign."
            )
        check = check_tensors(evidence)
        if check.status == "failed" or evidence.statement_fault:
            raise WoodshedError(f"'{place.path}' is not signed: {evidence.statement_fault or check.words}")
        if evidence.envelope and evidence.envelope.signature:
            continue
        if evidence.claims != evidence.header_claims:
            raise WoodshedError(f"'{place.path}' is not signed: header and statement say different things.")
        write_statement(place.path)
        signed.append(place.statement)
    return signed
