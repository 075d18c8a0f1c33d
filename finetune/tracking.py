"""Where a run writes what happens: log.jsonl always, Weights & Biases when the recipe says so.

Nothing goes to Weights & Biases but the recipe (its folders by name alone) and the rows of the log.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from finetune.errors import WoodshedError
from finetune.files import write_file
from finetune.recipe import Recipe, values

Row = dict[str, Any]
PATHS = ("base.model", "data.dataset", "adapter.init_from", "output.root")


def read_log(run: Path) -> list[Row]:
    """The rows of a run's log; a last line that was cut off by a crash is left out."""
    file = run / "log.jsonl"
    rows = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


@contextlib.contextmanager
def tracking(run: Path, recipe: Recipe, step: int) -> Iterator[Callable[[Row], None]]:
    """Yields `log(row)`; every row has a `step`, and is on the disk when `log` returns.

    Rows after `step`, from a run that went on after its last checkpoint, are cut, and from the beginning (0) all
    of them: the log reads as if the run had never stopped.
    """
    kept = [row for row in read_log(run) if row["step"] <= step] if step else []
    write_file(run / "log.jsonl", "".join(json.dumps(row) + "\n" for row in kept).encode())
    with (run / "log.jsonl").open("a", encoding="utf-8") as file, _wandb_run(run, recipe) as send:

        def log(row: Row) -> None:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
            send(row)

        yield log


@contextlib.contextmanager
def _wandb_run(run: Path, recipe: Recipe) -> Iterator[Callable[[Row], None]]:
    """Yields what sends a row; one Weights & Biases run across all resumes."""
    if recipe.tracking.wandb == "off":
        yield lambda row: None
        return
    import wandb

    config = {
        key: Path(value).name if key in PATHS and value else value for key, value in values(recipe).items()
    }
    settings = wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        disable_job_creation=True,
        quiet=True,
        silent=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )
    try:
        session = wandb.init(
            project=recipe.tracking.project,
            name=recipe.name,
            id=_wandb_id(run),
            resume="allow" if recipe.tracking.wandb == "online" else None,
            mode=recipe.tracking.wandb,
            dir=run,
            config=config,
            settings=settings,
        )
    except wandb.errors.Error as error:
        raise WoodshedError(
            f"Weights & Biases could not be reached ({error}). Run `wandb login`, or train with "
            "tracking.wandb=offline and send the run later with `wandb sync`."
        ) from error
    try:
        yield lambda row: session.log(_numbers(row), step=row["step"])
    finally:
        session.finish()


def _wandb_id(run: Path) -> str:
    """The id that this run has at Weights & Biases, made up once."""
    file = run / "wandb_id.txt"
    if not file.exists():
        write_file(file, uuid.uuid4().hex[:12].encode())
    return file.read_text(encoding="utf-8")


def _numbers(row: Row) -> Row:
    return {
        name: value for name, value in row.items() if name != "step" and isinstance(value, (int, float, dict))
    }
