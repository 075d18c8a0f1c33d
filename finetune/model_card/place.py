"""Where the card and the licences of an export lie: in its folder, or beside its file under that file's name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCard

from finetune.errors import WoodshedError

README = "README.md"
_LICENCE = re.compile(r"LICEN[SC]E|NOTICE", re.IGNORECASE)
OURS = "woodshed"  # the card's key for what Woodshed itself reads again


def card_file(export: Path) -> Path:
    """README.md of a folder; NAME.md beside NAME.safetensors."""
    return export / README if export.is_dir() else export.with_suffix(".md")


def licence_file(export: Path, name: str) -> Path:
    """The place of a copy of the licence that is called `name`, from the base's folder on: one of the base's parts goes
    into the folder of an export under a name with a dash for the slash, beside a file under that file's name too."""
    if not export.is_dir():
        return export.with_name(f"{export.stem}.{name.replace('/', '-')}")
    return export / name if (export / name).is_file() else export / name.replace("/", "-")


def check_free(out: Path) -> None:
    """WoodshedError where the card of a file that is to be `out` would replace something."""
    if out.suffix == ".safetensors" and not out.exists() and card_file(out).exists():
        raise WoodshedError(
            f"There is something in '{card_file(out)}' already, where the model card would go. Remove it, name another "
            "place with --out, or leave the card out with --no-card."
        )


def read_card(export: Path) -> dict[str, Any]:
    """What the card says to programs. WoodshedError where there is none, or it cannot be read."""
    file = card_file(export)
    if not file.is_file():
        raise WoodshedError(
            f"'{export}' has no model card ({file.name}). `woodshed export` and `woodshed convert` write one; "
            "export it again to another place."
        )
    try:
        return dict(ModelCard(file.read_text(encoding="utf-8"), ignore_metadata_errors=False).data.to_dict())
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise WoodshedError(
            f"The model card '{file}' cannot be read: what stands between its two lines of --- is no metadata."
        ) from error


def named_licences(export: Path, card: dict[str, Any]) -> dict[Path, str]:
    """The licence files beside an export that its card names, each with the SHA-256 it had where it was copied from.

    WoodshedError for a name that leads elsewhere, or is not that of a licence.
    """
    ours = card.get(OURS)
    named = ours.get("licences") if isinstance(ours, dict) else None
    folder = export if export.is_dir() else export.parent
    found: dict[Path, str] = {}
    for name, digest in (named if isinstance(named, dict) else {}).items():
        path = folder / str(name)
        if not _LICENCE.search(path.name):
            raise WoodshedError(
                f"The model card of '{export}' names as a licence what is not called one: '{name}'."
            )
        if not path.resolve().is_relative_to(folder.resolve()) or ".." in Path(str(name)).parts:
            raise WoodshedError(f"The model card of '{export}' names a licence file elsewhere: '{name}'.")
        found[path] = str(digest)
    return found
