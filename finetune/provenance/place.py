"""Where an adapter and its statement lie: a folder with the statement in it, or a file with the statement beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.adapter.formats import diffusers
from finetune.adapter.formats.peft import WEIGHTS
from finetune.adapter.formats.tensors import read_header
from finetune.errors import WoodshedError
from finetune.provenance.canonical import read_object

IN_FOLDER, BESIDE = "statement.dsse.json", ".dsse.json"
_WEIGHTS_IN_FOLDER = ("*.safetensors", "transformer/*.safetensors")
COVERED = (".safetensors", ".json")  # weights, and what says how they are used
HEADER = "provenance"  # its place in the card that a header carries under `woodshed`


@dataclass(frozen=True)
class Place:
    """`root` is the folder that the names of `files` are below; `is_folder` whether all of it is the adapter."""

    root: Path
    statement: Path
    files: tuple[str, ...]
    is_folder: bool

    @property
    def path(self) -> Path:
        return self.root if self.is_folder else self.root / self.files[0]


def find_place(path: Path) -> Place:
    """The place of an adapter: a run's folder means its `adapter`. WoodshedError for what holds no safetensors file."""
    if path.is_file() and path.name.endswith(BESIDE):
        path = (
            path.parent
            if path.name == IN_FOLDER
            else path.with_name(path.name.removesuffix(BESIDE) + ".safetensors")
        )
    if path.is_dir() and not (path / WEIGHTS).is_file() and (path / "adapter").is_dir():
        path = path / "adapter"
    if path.is_file() and path.name == WEIGHTS and (path.parent / IN_FOLDER).is_file():
        path = path.parent
    if (path / diffusers.FILE).is_file() and not (path / IN_FOLDER).is_file():
        path = path / diffusers.FILE
    if path.is_file():
        return Place(path.parent, path.with_name(path.stem + BESIDE), (path.name,), is_folder=False)
    if not path.exists():
        raise WoodshedError(
            f"There is nothing in '{path}' to verify; name a run, an adapter's folder or its file."
        )
    if not (path / IN_FOLDER).is_file() and not any(any(path.glob(each)) for each in _WEIGHTS_IN_FOLDER):
        raise WoodshedError(
            f"'{path}' holds no adapter: it is neither a run's folder nor that of an adapter."
        )
    files = sorted(
        each.relative_to(path).as_posix()
        for each in path.rglob("*")
        if each.suffix in COVERED
        and each.is_file()
        and not each.name.startswith(".")
        and each != path / IN_FOLDER
    )
    return Place(path, path / IN_FOLDER, tuple(files), is_folder=True)


def cards(place: Place) -> dict[str, dict[str, Any]]:
    """File -> the card that its header carries, for those that carry one. WoodshedError for a damaged file."""
    found = {}
    for name in place.files:
        if name.endswith(".safetensors"):
            text = read_header(place.root / name)[0].get("woodshed")
            if text is not None:
                found[name] = read_object(text, f"The card in the header of '{name}'")
    return found


def claims_of(place: Place) -> dict[str, Any] | None:
    """What the header says of where the adapter comes from; None for one made before or elsewhere."""
    return next((card[HEADER] for card in cards(place).values() if isinstance(card.get(HEADER), dict)), None)
