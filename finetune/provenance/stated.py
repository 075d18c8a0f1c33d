"""Checks of what is stated: the tensors, the signature, the base and the recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from finetune.adapter.formats.metadata import TENSORS
from finetune.adapter.formats.tensor_hash import file_tensor_hash
from finetune.base_model.hub import hub_name
from finetune.base_model.sources import find_base, find_local_base, fingerprint
from finetune.errors import WoodshedError
from finetune.provenance.claims import portable
from finetune.provenance.evidence import Evidence
from finetune.provenance.place import IN_FOLDER
from finetune.provenance.results import Check, some
from finetune.provenance.signature import judged
from finetune.provenance.statement import TENSORS_DIGEST, subjects
from finetune.recipe import Recipe
from finetune.run_folder import FREE_KEYS, recipe_hash, recipe_of


def check_tensors(evidence: Evidence) -> Check:
    """Each file against its own header and against the statement, to the last byte where that names it."""
    place = evidence.place
    try:
        if evidence.header_fault:
            return Check("tensors", "failed", evidence.header_fault)
        for name, card in evidence.cards.items():
            if TENSORS in card and card[TENSORS] != file_tensor_hash(place.root / name):
                return Check(
                    "tensors", "failed", f"The tensors of '{name}' are not those that its header says."
                )
        found = {subject["name"]: subject["digest"] for subject in subjects(place)}
    except WoodshedError as error:
        return Check("tensors", "failed", str(error))
    if evidence.statement is None:
        if any(TENSORS in card for card in evidence.cards.values()):
            words = "The tensors are those that the header says; without a statement that proves nothing of the header."
        else:
            words = "The header does not say what the tensors are: it was made earlier, or elsewhere."
        return Check("tensors", "incomplete", words)
    wanted = {subject["name"]: subject["digest"] for subject in evidence.statement["subject"]}
    if not place.is_folder and len(wanted) == 1:  # a file may be renamed
        wanted = dict(zip(found, wanted.values(), strict=True))
    return _compared(found, wanted)


def _compared(found: dict[str, dict[str, str]], wanted: dict[str, dict[str, str]]) -> Check:
    strange, lost = sorted(found.keys() - wanted.keys()), sorted(wanted.keys() - found.keys())
    if strange or lost:
        which = f"{some(strange)} is not stated" if strange else f"{some(lost)} is not there"
        return Check("tensors", "failed", f"The adapter's files are not those that were stated: {which}.")
    changed = sorted(name for name in found if found[name] != wanted[name])
    if changed:
        same = all(found[name].get(TENSORS_DIGEST) == wanted[name].get(TENSORS_DIGEST) for name in changed)
        what = "header or configuration" if same else "tensors"
        return Check(
            "tensors",
            "failed",
            f"{some(changed)}: the {what} were changed after it was stated what they are.",
        )
    count = "1 file is" if len(found) == 1 else f"{len(found)} files are"
    return Check("tensors", "proved", f"{count}, byte for byte, what was stated.")


def check_signature(evidence: Evidence, trusted: str | None) -> Check:
    """`trusted` is the fingerprint of the key that is asked for; None asks for this user's own."""
    place = evidence.place
    if evidence.statement_fault:
        return Check("signature", "failed", evidence.statement_fault)
    if evidence.envelope is None:
        where = f"{IN_FOLDER} in the folder" if place.is_folder else f"{place.statement.name} beside the file"
        return Check(
            "signature", "incomplete", f"There is no statement ({where}), so nobody stands for what it says."
        )
    seen = judged(evidence.envelope, trusted, f"'{place.path}'")
    if seen.status != "proved":
        return seen
    source = (evidence.claims or {}).get("derived_from")
    if source and source.get("signed_by") is None:
        words = "The adapter that it was converted from was not signed, so what it was made from nobody stands for."
        return Check("signature", "incomplete", words)
    if source and source["signed_by"] != evidence.envelope.key_id:
        return replace(
            seen, words=f"{seen.words} What it was converted from was signed with {source['signed_by']}."
        )
    return seen


def check_base(evidence: Evidence, base: str | None) -> Check:
    """The header's claims against the statement's, then the weights of the base at hand against both."""
    claims = evidence.claims
    if claims is None:
        return Check("base", "incomplete", "It does not say what it was made from.")
    if evidence.header_claims is not None and evidence.header_claims != claims:
        return Check("base", "failed", "Header and statement say different things of what it was made from.")
    stated = claims["base"]
    name, wanted = stated.get("name"), stated.get("fingerprint")
    try:
        root = find_base(base) if base else _base_at_hand(evidence)
        if root is None:
            words = f"The base '{name}' is not at hand to compare; name where it lies with --base."
            return Check("base", "incomplete", words)
        found = fingerprint(root, remembered=False)
    except WoodshedError as error:
        return Check("base", "incomplete", str(error))
    if found != wanted:
        words = f"The base in '{root}' is not the one stated: its hash is {found[:12]}… and not {str(wanted)[:12]}…."
        return Check("base", "failed", words)
    return Check("base", "proved", f"The base is '{name}', and its weights are those stated ({found[:12]}…).")


def _base_at_hand(evidence: Evidence) -> Path | None:
    """The folder of the base, by the name in the run's recipe or in the claims; nothing is fetched."""
    stated = str((evidence.claims or {})["base"].get("name"))
    names = (
        [stated] if stated == "starter" or hub_name(stated) else []
    )  # a folder's name alone says not where it is
    if evidence.run is not None and (evidence.run / "recipe.yaml").is_file():
        names.insert(0, recipe_of(evidence.run).base.model)
    return next((root for name in names if (root := find_local_base(name))), None)


def check_recipe(evidence: Evidence) -> Check:
    """The stated recipe against the run's recipe.yaml, where that is at hand."""
    claims = evidence.claims
    if claims is None:
        return Check("recipe", "incomplete", "It does not say by which recipe it was trained.")
    run = evidence.run
    if run is None or not (run / "recipe.yaml").is_file():
        return Check(
            "recipe",
            "proved",
            f"The recipe is stated, {len(claims['recipe'])} keys; there is no run to compare.",
        )
    try:
        recipe = recipe_of(run)
    except WoodshedError as error:
        return Check("recipe", "failed", str(error))
    stated = portable(Recipe()) | claims["recipe"]  # a key that came later had its default
    own = portable(recipe)
    other = sorted(key for key in stated.keys() - FREE_KEYS if own.get(key) != stated[key])
    if other:
        return Check(
            "recipe", "failed", f"recipe.yaml is not the recipe that was stated: {some(other)} differ."
        )
    if own.keys() == claims["recipe"].keys() and recipe_hash(recipe) != claims.get("recipe_sha256"):
        return Check(
            "recipe", "failed", "recipe.yaml has not the hash that was stated: adapter.init_from was another."
        )
    return Check(
        "recipe", "proved", "recipe.yaml is the recipe stated, in every key that decides what is learned."
    )
