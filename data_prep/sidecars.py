"""YAML that musicians write, and the files of it that lie beside recordings and speak of them."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

LARGEST_BYTES = 1_000_000


def read_yaml(path: Path) -> Any:
    """What the file says; safe YAML. ValueError, a sentence that begins with the path, for one that cannot be read, is
    larger than 1 MB, is no UTF-8 or no YAML, or has a key twice."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"{path} is larger than 1 MB, which no list of words is; is it another file?")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not in UTF-8; save it as UTF-8 in your editor.") from error
    try:
        return yaml.load(text, _Unique)  # a safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ValueError(f"{path} is no valid YAML: {_place(error)}.") from error


def sidecars(root: Path, names: Iterable[str], called: str) -> list[tuple[str, Path, list[str]]]:
    """The files `called` so in the folders that lead to recordings, outermost first: folder (POSIX path below `root`,
    `.` for itself), path, and the recordings of `names` (POSIX paths below `root`) that lie in that folder or deeper.
    """
    names = list(names)
    folders = {parent for name in names for parent in PurePosixPath(name).parents}
    found = []
    for folder in sorted(folders, key=lambda each: (len(each.parts), each)):
        path = root / folder / called
        if path.is_file():
            within = [name for name in names if folder in PurePosixPath(name).parents]
            found.append((folder.as_posix(), path, within))
    return found


def fitting(pattern: str, folder: str, within: list[str], path: Path) -> list[str]:
    """The recordings that a pattern of the file `path` in `folder` means. ValueError where there are none: a slip of
    the pen."""
    meant = [name for name in within if fits(name, folder, pattern)]
    if not meant:
        raise ValueError(f"{path}: no recording is called {pattern!r}; mend the name or delete the line.")
    return meant


def fits(name: str, folder: str, pattern: str) -> bool:
    """A pattern with a slash is a path below the folder, one without is a file's name, in folders within too."""
    below = name if folder == "." else name[len(folder) + 1 :]
    return fnmatchcase(below if "/" in pattern else PurePosixPath(below).name, pattern)


class _Unique(yaml.SafeLoader):
    """Safe YAML in which a key that is there twice is an error, not a word lost."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise yaml.MarkedYAMLError(problem=f"{key!r} is there twice", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


def _place(error: Exception) -> str:
    """Where and what: `line 3: ...`, as far as it is known."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error).split("\n")[0]
    problem = "it is nested too deeply" if isinstance(error, RecursionError) else said
    return f"line {mark.line + 1}: {problem}" if mark else problem
