"""What all verbs share: words on stderr, the option for one JSON object on stdout, exit codes."""

from __future__ import annotations

import dataclasses
import json
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

words = Console(stderr=True, highlight=False)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
STOPPED = 130  # the exit code after Ctrl-C


def report(result: Any, as_json: bool, text: str) -> None:
    """Print a result, a dataclass, as JSON, or `text` about it."""
    if as_json:
        print(json.dumps({"ok": True, **_plain(result)}))
    else:
        words.print(text)


def _plain(value: Any) -> Any:
    """A result as JSON can hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value.value if isinstance(value, Enum) else str(value) if isinstance(value, Path) else value
