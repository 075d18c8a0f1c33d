"""The licences that come with a base: found beside its weights, shown at first use, recorded as accepted.

What a licence says is quoted from its file and never judged. An acceptance is of one text: a file that says something
else is asked for anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from finetune.config_folder import config_folder
from finetune.errors import WoodshedError
from finetune.files import make_folder, sync, write_file

RECORD = "licences.jsonl"
IN_A_RUN = "licences.json"
_NAMES = re.compile(r"(LICEN[SC]E|NOTICE)", re.IGNORECASE)
_COMMERCIAL = re.compile(
    r"commercial|revenue|royalt|\bfees?\b|\bsell|\bsold\b|\bpaid\b|attribution", re.IGNORECASE
)
_TEXTS = ("", ".md", ".txt", ".rst")


@dataclass(frozen=True)
class Licence:
    """A licence file: what it is called, the first line of its text, and the SHA-256 of its bytes."""

    file: Path
    title: str
    sha256: str


@dataclass(frozen=True)
class Acceptance:
    """That somebody accepted a licence for a base, and when (ISO 8601, UTC)."""

    licence_sha256: str
    title: str
    base: str
    accepted_by: str
    accepted_at: str


def licence_of(root: Path) -> Path | None:
    """The licence file beside the weights."""
    found = [
        path
        for path in root.iterdir()
        if path.is_file() and path.name.upper().startswith(("LICENSE", "LICENCE"))
    ]
    return min(found, default=None)


def licence_files(root: Path) -> list[Path]:
    """Every file of terms beside the weights of a base and in its parts, such as those of its text encoder."""
    folders = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    return [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.is_file() and _NAMES.match(path.name) and path.suffix.lower() in _TEXTS
    ]


def read_licences(root: Path) -> list[Licence]:
    """The licences of a base; one that says the same as another is not told twice."""
    found: dict[str, Licence] = {}
    for file in licence_files(root):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        found.setdefault(digest, Licence(file, title_of(file), digest))
    return list(found.values())


def title_of(file: Path) -> str:
    """The first line of a licence that says something; the name of its file where none does."""
    lines = (line.strip("# \t") for line in text_of(file).splitlines())
    return next((line for line in lines if line), file.name)


def text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def commercial_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that speak of money, selling or attribution, with their numbers: quoted, for a person to read."""
    for number, line in enumerate(text.splitlines(), start=1):
        if _COMMERCIAL.search(line):
            yield number, line.strip()


def acceptances() -> dict[str, Acceptance]:
    """SHA-256 of a licence -> its last acceptance on this machine, by this user."""
    try:
        lines = (config_folder() / RECORD).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise WoodshedError(f"'{config_folder() / RECORD}' cannot be read: {error.strerror}.") from error
    found = [each for line in lines if (each := _acceptance(line)) is not None]
    return {each.licence_sha256: each for each in found}


def accept(licence: Licence, base: str, name: str) -> Acceptance:
    """Record that `name` accepts a licence for `base`. WoodshedError for a name that says nothing."""
    if not name.strip():
        raise WoodshedError('Say who accepts the licence, for instance: --name "Ada"')
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = Acceptance(licence.sha256, licence.title, base, name.strip(), now)
    line = json.dumps(asdict(made), ensure_ascii=False) + "\n"
    folder = config_folder()
    try:
        make_folder(folder)
        with (folder / RECORD).open("ab") as file:
            broken = _is_cut_off(folder / RECORD)  # by a crash: that line ends here, and this one is whole
            file.write(("\n" * broken + line).encode())
            file.flush()
            os.fsync(file.fileno())
        sync(folder)
    except OSError as error:
        raise WoodshedError(
            f"That the licence was accepted cannot be recorded in '{folder}': {error.strerror}."
        ) from error
    return made


def write_acceptances(run: Path, root: Path) -> None:
    """Keep in a run's folder what was accepted for the base in `root`; nothing for a base without licence files."""
    known = acceptances()
    rows = [asdict(known[each.sha256]) for each in read_licences(root) if each.sha256 in known]
    if rows:
        text = json.dumps(rows, indent=1, ensure_ascii=False) + "\n"
        write_file(run / IN_A_RUN, text.encode())


def _is_cut_off(record: Path) -> bool:
    content = record.read_bytes()
    return bool(content) and not content.endswith(b"\n")


def _acceptance(line: str) -> Acceptance | None:
    """A line of the record; None for one that is none, as a crash can leave it."""
    try:
        row = json.loads(line)
        made = Acceptance(**row)
    except (ValueError, TypeError):
        return None
    return made if all(isinstance(value, str) for value in asdict(made).values()) else None
