"""The licences of an export's base: copied byte for byte, named for the Hub, and quoted where they ask for credit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from finetune.base_model import find_base, fingerprint
from finetune.base_model.hub import hub_name
from finetune.base_model.sources import find_local_base
from finetune.errors import WoodshedError
from finetune.files import write_file
from finetune.licences import licence_files, text_of, title_of
from finetune.model_card.place import licence_file
from finetune.provenance.canonical import sha256

_CREDIT = re.compile(
    r"attribution|powered by|built (?:with|on|using)|prominently|\bcredit\b|acknowledge?ment|text file",
    re.IGNORECASE,
)
_KNOWN = {
    "apache-2.0": ("Apache License", "Version 2.0"),
    "mit": ("MIT License", "Permission is hereby granted"),
}


@dataclass(frozen=True)
class Carried:
    """A licence that goes along: its copy, title, hash, the Hub's name of it, and its passages on giving credit, each
    with the number of its first line."""

    copy: Path
    title: str
    sha256: str
    hub_id: str
    credit: list[tuple[int, str]]


def base_folder(base: str | None, recorded: str | None, recorded_fingerprint: str | None) -> Path | None:
    """The folder of the base: of the one that was compared on, else of the one that the adapter names, where that lies
    here and is the same; nothing is fetched."""
    if base is not None:
        return find_base(base)
    if recorded is None or not (recorded == "starter" or hub_name(recorded)):
        return None
    try:
        root = find_local_base(recorded)
        same = root and recorded_fingerprint in (None, fingerprint(root))
    except (WoodshedError, OSError):
        return None
    return root if same else None


def carry_licences(root: Path | None, export: Path) -> list[Carried]:
    """Copy every licence file of the base in `root` into or beside an export."""
    carried = []
    for file in licence_files(root) if root else []:
        assert root is not None
        content, text = file.read_bytes(), text_of(file)
        copy = licence_file(export, file.relative_to(root).as_posix())
        if not copy.is_file() or copy.read_bytes() != content:
            write_file(copy, content)
        carried.append(
            Carried(copy, title_of(file), sha256(content), _hub_id(text), list(credit_passages(text)))
        )
    return carried


def credit_passages(text: str) -> Iterator[tuple[int, str]]:
    """The paragraphs of a licence that speak of credit and notices, and the number of their first line: found by words,
    quoted as they stand."""
    begin, passage = 1, list[str]()
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if line.strip():
            begin = begin if passage else number
            passage.append(line)
            continue
        if _CREDIT.search(" ".join(passage)):
            yield begin, "\n".join(passage)
        passage = []


def licence_slug(title: str) -> str:
    """A title as the Hub's `license_name`."""
    return re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-.")[:80] or "other"


def _hub_id(text: str) -> str:
    """The Hub's name of a licence, told by its first words; `other` for all that are not known here."""
    begin = " ".join(text[:400].split())
    return next((name for name, words in _KNOWN.items() if all(each in begin for each in words)), "other")
