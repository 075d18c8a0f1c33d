"""`rights.yaml` beside recordings: what it says of which file.

A statement holds for its folder and the folders in it; `files:` says more of single files by patterns; a deeper
rights.yaml goes before. One that names a `basis` stands for itself; one that does not amends what holds above it. What
no rights.yaml speaks of has the statement of the command.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from data_prep.files import file_sha256
from data_prep.ownership.rights import RIGHTS_FIRST, Basis, Rights, RightsError
from data_prep.sidecars import fits, fitting, read_yaml, sidecars

RIGHTS_FILE = "rights.yaml"
FEW = 5
_STATED = tuple(each.name for each in fields(Rights))
_KEYS = (*_STATED, "answered", "files")


@dataclass(frozen=True)
class Stated:
    """What holds for one recording; `answered` are questions (rights_questions.py) and what a person says to them."""

    rights: Rights
    answered: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Sidecar:
    path: Path
    says: dict[str, str]
    answered: dict[str, str]
    files: dict[str, tuple[dict[str, str], dict[str, str]]]


def read_rights(root: Path, names: Iterable[str], default: Rights | None) -> dict[str, Stated]:
    """Name (POSIX path below `root`) -> what holds for it.

    RightsError, naming the recordings, where nothing is known; for a rights.yaml that cannot be read, has unknown
    words, or a pattern that no recording fits; for evidence that is missing or has another hash.
    """
    names = list(names)
    sidecars = _sidecars(root, names)
    stated: dict[str, Stated] = {}
    unknown: list[str] = []
    for name in names:
        says, answered = _merge(name, sidecars, default)
        if not says.get("basis") or not says.get("recorded_by"):
            unknown.append(name)
            continue
        stated[name] = Stated(_rights(says, name), answered)
    if unknown and not sidecars:
        raise RightsError(RIGHTS_FIRST)
    if unknown:
        more = f" and {len(unknown) - FEW} more" if len(unknown) > FEW else ""
        raise RightsError(
            f"Nothing is known of the rights in {', '.join(unknown[:FEW])}{more}: no {RIGHTS_FILE} names their basis "
            "and recorded_by. Write it there, or say --basis and --recorded-by for all that have none."
        )
    return stated


def _sidecars(root: Path, names: list[str]) -> dict[str, _Sidecar]:
    """Folder (POSIX path below `root`, `.` for itself) -> its rights.yaml, for folders that lead to recordings."""
    for other in ("rights.yml", "RIGHTS.yaml", "rights.txt"):
        for _, path, _ in sidecars(root, names, other):
            if not path.with_name(RIGHTS_FILE).is_file():
                raise RightsError(f"{path} is not read: the file is called {RIGHTS_FILE}; rename it.")
    found = {}
    for folder, path, within in sidecars(root, names, RIGHTS_FILE):
        found[folder] = _read(path, root)
        for pattern in found[folder].files:
            with _as_rights_error():
                fitting(pattern, folder, within, path)
    return found


def _merge(
    name: str, sidecars: dict[str, _Sidecar], default: Rights | None
) -> tuple[dict[str, str], dict[str, str]]:
    """What is said of a recording, from the command and the library's root down to its own folder."""
    says = {key: str(value) for key, value in vars(default).items() if value} if default else {}
    answered: dict[str, str] = {}
    for folder in reversed([parent.as_posix() for parent in PurePosixPath(name).parents]):
        if not (sidecar := sidecars.get(folder)):
            continue
        statements = [(sidecar.says, sidecar.answered)]
        statements += [said for pattern, said in sidecar.files.items() if fits(name, folder, pattern)]
        for said, answers in statements:
            says = dict(said) if "basis" in said else says | said
            answered |= answers
    return says, answered


def _rights(says: dict[str, str], name: str) -> Rights:
    try:
        return Rights(Basis(says["basis"]), **{key: value for key, value in says.items() if key != "basis"})
    except ValueError as error:
        raise RightsError(f"{name}: {str(error).replace('say --licence', 'write licence:')}") from error


@contextmanager
def _as_rights_error() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise RightsError(str(error)) from error


def _read(path: Path, root: Path) -> _Sidecar:
    with _as_rights_error():
        content = read_yaml(path)
    top = _mapping(content, path, "the file")
    files = {}
    for pattern, said in _mapping(top.get("files"), path, "files").items():
        files[pattern] = _statement(_mapping(said, path, pattern), path, root, _KEYS[:-1])
    says, answered = _statement(
        {key: value for key, value in top.items() if key != "files"}, path, root, _KEYS
    )
    return _Sidecar(path, says, answered, files)


def _mapping(content: Any, path: Path, what: str) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise RightsError(f"{path}: {what} is no list of `word: value` lines.")
    return content


def _statement(
    content: dict[str, Any], path: Path, root: Path, allowed: tuple[str, ...]
) -> tuple[dict[str, str], dict[str, str]]:
    says: dict[str, str] = {}
    for key, value in content.items():
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(allowed)}."
            raise RightsError(f"{path}: {key!r} says nothing here{hint}")
        if key != "answered" and value is not None:
            says[key] = _text(value, path, key)
    if "basis" in says and says["basis"] not in list(Basis):
        raise RightsError(f"{path}: the basis {says['basis']!r} is none of {', '.join(Basis)}.")
    answers = _mapping(content.get("answered"), path, "answered")
    answered = {question: _text(answer, path, question) for question, answer in answers.items()}
    return _with_evidence(says, path, root), answered


def _text(value: Any, path: Path, key: str) -> str:
    """A word, a number or a date, or a list of them; several are joined by commas."""
    parts = value if isinstance(value, list) else [value]
    if not parts or any(isinstance(part, dict | list | tuple | set | type(None)) for part in parts):
        raise RightsError(f"{path}: {key} is neither a text nor a list of texts.")
    text = ", ".join(str(part).strip() for part in parts)
    if not text:
        raise RightsError(f"{path}: {key} is empty; write it, or delete the line.")
    return text


def _with_evidence(says: dict[str, str], path: Path, root: Path) -> dict[str, str]:
    """The evidence as a path below `root`, and its hash, checked where one was given."""
    if "evidence" not in says:
        if "evidence_sha256" in says:
            raise RightsError(f"{path}: evidence_sha256 without evidence; name the file.")
        return says
    file = path.parent / says["evidence"]
    if not file.resolve().is_relative_to(root.resolve()):
        raise RightsError(f"{path}: the evidence {says['evidence']} lies outside {root}; copy it into it.")
    if not file.is_file():
        raise RightsError(
            f"{path}: the evidence {says['evidence']} is not there; bring it back, or mend the line."
        )
    try:
        found = file_sha256(file)
    except OSError as error:
        raise RightsError(
            f"{path}: the evidence {says['evidence']} cannot be read ({error.strerror})."
        ) from error
    wanted = says.get("evidence_sha256", found).lower()
    if wanted != found:
        raise RightsError(
            f"{path}: the evidence {says['evidence']} is not the file that was named: its SHA-256 is {found}. Bring "
            "the right one back, or write the new hash."
        )
    below = file.resolve().relative_to(root.resolve()).as_posix()
    return says | {"evidence": below, "evidence_sha256": found}
