"""A small library to prepare, and the command to prepare it with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import drummer
import pytest
import typer
from typer.testing import CliRunner

from data_prep.command import prep

RIGHTS = ["--basis", "own_recording", "--recorded-by", "Ada"]


@dataclass(frozen=True)
class Result:
    """What a command gave: exit code, stdout, stderr, and the JSON of stdout where it was asked for."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three synthetic takes of about ten seconds, one of them in a folder; tests must not change it."""
    folder = tmp_path_factory.mktemp("library")
    drummer.write(folder / "backbeat_100.wav", drummer.play(100, bars=4, seed=1).samples)
    seven = drummer.play(130, bars=6, pattern=drummer.SEVEN_EIGHT, quarter_notes=3.5, seed=2)
    drummer.write(folder / "odd" / "seven_eight_130.flac", seven.samples)
    drummer.write(folder / "fast_165.wav", drummer.play(165, bars=6, seed=3).samples)
    return folder


@pytest.fixture(scope="session")
def run_prep() -> Callable[..., Result]:
    """`run_prep(recordings, dataset, *options)` as typed, with rights stated unless `rights=False`."""
    app = typer.Typer()
    app.command("prep")(prep)

    def run(recordings: Path, dataset: Path, *options: str, rights: bool = True) -> Result:
        words = [str(recordings), str(dataset), "--workers", "1", *options, *(RIGHTS if rights else [])]
        result = CliRunner().invoke(app, words)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout, result.stderr)

    return run
