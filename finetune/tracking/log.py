"""log.jsonl: one row for each step and each validation, written before training goes on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from finetune.files import write_file
from finetune.rank import is_main
from finetune.recipe import Recipe

Row = dict[str, Any]


def read_log(run: Path) -> list[Row]:
    """The rows of a run's log; a last line that was cut off by a crash is left out."""
    file = run / "log.jsonl"
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def rows_until(run: Path, step: int) -> list[Row]:
    """The rows that a run goes on from after `step`: none at the beginning, 0."""
    return [row for row in read_log(run) if row["step"] <= step] if step else []


def as_lines(rows: list[Row]) -> bytes:
    """Rows as they stand in log.jsonl."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@contextlib.contextmanager
def tracking(run: Path, recipe: Recipe, step: int) -> Iterator[Callable[[Row], None]]:
    """Yields `log(row)`; every row has a `step`, and is out of this process when `log` returns.

    Rows after `step`, from a run that went on after its last checkpoint, are cut, and from the beginning (0) all
    of them: the log reads as if the run had never stopped.

    With Weights & Biases, samples, checkpoints and the adapter are found in the run's folder: a step's must be there
    before the next step's row is logged, the adapter when the block ends. Raises WoodshedError when the server
    cannot be reached at the beginning; later nothing that happens there is raised or waited for.
    """
    if not is_main():  # of several processes one writes
        yield lambda row: None
        return
    kept = rows_until(run, step)
    write_file(run / "log.jsonl", as_lines(kept))
    with (run / "log.jsonl").open("a", encoding="utf-8") as file, _wandb(run, recipe, kept) as send:

        def log(row: Row) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()  # outlives a kill; a checkpoint forces it to the disk, for a power cut
            send(row)

        yield log


@contextlib.contextmanager
def _wandb(run: Path, recipe: Recipe, kept: list[Row]) -> Iterator[Callable[[Row], None]]:
    """Yields what sends a row to Weights & Biases, or does nothing when it is off."""
    if recipe.tracking.wandb == "off":
        yield lambda row: None
        return
    from finetune.tracking.wandb_run import wandb_run  # its client takes a second to load

    with wandb_run(run, recipe, kept) as send:
        yield send
