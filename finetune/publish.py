"""What `woodshed publish` would send to the Hugging Face Hub: exactly the files of the export. Nothing is sent here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from finetune.errors import WoodshedError
from finetune.model_card import card_file, named_licences, read_card
from finetune.model_card.place import README
from finetune.provenance import describe
from finetune.provenance.canonical import file_sha256
from finetune.provenance.place import Place, find_place
from finetune.provenance.results import RIGHTS
from finetune.provenance.verify import verify

_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_OF_A_BASE = ("tokenizer*", "*.model", "merges.txt", "vocab.txt")  # in the folders of a merged one


@dataclass(frozen=True)
class Sent:
    """A file, its name in the repository, its bytes and their SHA-256."""

    name: str
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Basis:
    """A right by which recordings were used, and for how many."""

    basis: str
    clips: int
    recordings: int
    minutes: float


@dataclass(frozen=True)
class Rights:
    bases: list[Basis]
    licences: list[str]
    restrictions: list[str]


@dataclass(frozen=True)
class Upload:
    """What would be sent where; `sent` whether it was, then `url` is where it lies. `left_out` are files in the
    export's folder that are not of the export, `licence` what the card calls that of the base, `rights` the summary in
    the export's header. `whole_base`: it is a merged one."""

    repo: str
    private: bool
    files: list[Sent]
    left_out: list[str]
    licence: str
    rights: Rights
    checks: list[str]
    whole_base: bool
    sent: bool = False
    url: str | None = field(default=None)


def plan_upload(export: Path, repo: str, public: bool) -> Upload:
    """The upload of an export, nothing of it sent. WoodshedError for what may not be published, with the reason."""
    _check_name(repo)
    if not export.is_dir() and not (export.is_file() and export.suffix == ".safetensors"):
        raise WoodshedError(
            f"There is no export in '{export}': name the folder or the .safetensors file that `woodshed export` wrote."
        )
    place = find_place(export)
    card = read_card(place.path)
    licences = _licences(place, card)
    checks = _checked(place)
    rights = _rights(place)
    files = _files(place, licences)
    ours = card.get("woodshed", {})
    return Upload(
        repo=repo,
        private=not public,
        files=[Sent(name, str(path), path.stat().st_size, file_sha256(path)) for name, path in files.items()],
        left_out=_left_out(place, files),
        licence=str(card.get("license_name") or card.get("license") or "none named"),
        rights=rights,
        checks=checks,
        whole_base=isinstance(ours, dict) and ours.get("program") == "merged",
    )


def _check_name(repo: str) -> None:
    try:
        validate_repo_id(repo)
        valid = bool(_REPO.fullmatch(repo))
    except HFValidationError:
        valid = False
    if not valid:
        raise WoodshedError(
            f"--repo '{repo}' is not the name of a repository. It is OWNER/NAME, both of letters, digits, '-', '_' "
            "and '.', for instance ada/mykit."
        )


def _licences(place: Place, card: dict[str, Any]) -> list[Path]:
    """The licence files of the base, as they were copied. WoodshedError where there is none, or one is not that."""
    named = named_licences(place.path, card)
    if not named:
        raise WoodshedError(
            f"'{place.path}' has no licence file of its base beside it, so it is not published. Export it again, with "
            "--base naming a base that has its licence beside its weights."
        )
    for path, digest in named.items():
        if not path.is_file():
            raise WoodshedError(
                f"The licence file '{path}' is not there any more. Export again, or put it back."
            )
        if file_sha256(path) != digest:
            raise WoodshedError(
                f"The licence file '{path}' is not the base's any more: its bytes were changed."
            )
    return list(named)


def _rights(place: Place) -> Rights:
    """The summary of rights in the header. WoodshedError where there is none, it is no such, or a clip has no right."""
    said = describe(place.path).rights
    if said is None:
        raise WoodshedError(
            f"Nothing is recorded of the rights in what '{place.path}' learned from, so it is not published. "
            "A run that Woodshed trained has that record."
        )
    try:
        bases = [
            Basis(str(name), int(each["clips"]), int(each["recordings"]), float(each["minutes"]))
            for name, each in said["bases"].items()
        ]
        words = [[str(text) for text in said[key]] for key in ("licences", "restrictions")]
        missing = int(said["clips_without_rights"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise WoodshedError(
            f"What '{place.path}' says of rights is not in the form in which Woodshed says it, so it is not published."
        ) from error
    if missing:
        raise WoodshedError(
            f"Of {missing} clips that '{place.path}' learned from no right is stated, so it is not published."
        )
    return Rights(bases, *words)


def _checked(place: Place) -> list[str]:
    """What `woodshed verify` finds, in sentences. WoodshedError for tampering and for rights that are not there."""
    found = [check for each in verify(place.path) for check in each.checks]
    for check in found:
        if check.status == "failed":
            why = "a clip may not be used" if check.check == RIGHTS else "it is not what was stated"
            raise WoodshedError(f"'{place.path}' is not published, {why} ({check.check}): {check.words}")
    return [f"{check.check}: {check.status}. {check.words}" for check in found if check.status != "not asked"]


def _files(place: Place, licences: list[Path]) -> dict[str, Path]:
    """Name in the repository -> file, all that goes. WoodshedError for a link, which could lead anywhere."""
    paths = [*(place.root / name for name in place.files), *licences]
    if place.statement.is_file():
        paths.append(place.statement)
    if place.is_folder:
        paths += [
            path for pattern in _OF_A_BASE for path in place.root.glob(f"*/{pattern}") if path.is_file()
        ]
    named = {path.relative_to(place.root).as_posix(): path for path in paths}
    named[README] = card_file(place.path)
    for path in named.values():
        if path.is_symlink() or not path.resolve().is_relative_to(place.root.resolve()):
            raise WoodshedError(f"'{path}' is a link to another file and is not published; export again.")
    return dict(sorted(named.items()))


def _left_out(place: Place, files: dict[str, Path]) -> list[str]:
    """Of a folder, what lies in it and does not go."""
    found = place.root.rglob("*") if place.is_folder else []
    gone = set(files.values())
    return sorted(
        path.relative_to(place.root).as_posix() for path in found if path.is_file() and path not in gone
    )
