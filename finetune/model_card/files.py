"""Where the card and the licences of an export lie: in its folder, or beside its file under its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

README = "README.md"
LICENCE = "LICENSE-of-the-base"


@dataclass(frozen=True)
class CardPlace:
    """The card, and the folder and the beginning of the names of the licence files beside it."""

    card: Path
    folder: Path
    prefix: str

    def licence(self, name: str) -> Path:
        """The copy of a licence file called `name` below the base's folder: `LICENSE-of-the-base-NAME`."""
        return self.folder / f"{self.prefix}{LICENCE}-{name.replace('/', '-')}"

    def licences(self) -> list[Path]:
        """The copies that are there."""
        begins = f"{self.prefix}{LICENCE}-"
        return sorted(
            path for path in self.folder.iterdir() if path.is_file() and path.name.startswith(begins)
        )

    def published(self, path: Path) -> str:
        """The name of a card or a licence file in a repository, where the card is called README.md."""
        return README if path == self.card else path.name.removeprefix(self.prefix)


def card_place(export: Path) -> CardPlace:
    """Of a folder, README.md and the licences in it; of NAME.safetensors, NAME.md and NAME.LICENSE-… beside it."""
    if export.is_dir():
        return CardPlace(export / README, export, "")
    return CardPlace(export.with_suffix(".md"), export.parent, f"{export.stem}.")
