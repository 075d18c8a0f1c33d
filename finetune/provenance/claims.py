"""What an adapter claims of where it comes from: the part of its card that the statement beside it signs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from finetune.adapter.formats.metadata import base_label
from finetune.base_model import BaseModel
from finetune.files import from_home
from finetune.provenance.canonical import file_sha256
from finetune.provenance.training_set import TrainingSet
from finetune.recipe import Recipe, values

VERSION = 1
NOT_OF_THE_RECIPE = ("tracking.", "output.")  # where a run lies and whom it tells of itself


def training_claims(
    recipe: Recipe,
    recipe_sha256: str,
    base: BaseModel,
    training_set: TrainingSet,
    began_with: Mapping[str, Any] | None,
    versions: Mapping[str, str],
) -> dict[str, Any]:
    """Of an adapter as it is trained. The same run makes the same claims: no date, no folder of this machine."""
    return {
        "version": VERSION,
        "base": {
            "name": base_label(recipe.base.model),
            "fingerprint": base.fingerprint,
            "licence_sha256": file_sha256(base.licence) if base.licence else None,
        },
        "recipe": portable(recipe),
        "recipe_sha256": recipe_sha256,
        "training_set": training_set.claims(),
        "rights": training_set.rights_summary(),
        "began_with": dict(began_with) if began_with else None,
        "versions": {**versions, "woodshed": version("woodshed")},
    }


def portable(recipe: Recipe) -> dict[str, Any]:
    """Every key that is the same on another machine; a folder or a file by its name alone."""
    found = {key: value for key, value in values(recipe).items() if not key.startswith(NOT_OF_THE_RECIPE)}
    found["base.model"] = base_label(recipe.base.model)
    found["data.dataset"] = from_home(recipe.data.dataset).name
    found["adapter.init_from"] = recipe.adapter.init_from and Path(recipe.adapter.init_from).name
    return found
