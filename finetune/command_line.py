"""What all verbs share: words on stderr, and the option for one JSON object on stdout."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

words = Console(stderr=True, highlight=False)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
