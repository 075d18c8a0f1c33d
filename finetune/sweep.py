"""A grid of runs: every combination of the values that keys are given, in one folder, and what each run reached.

A sweep that was stopped goes on where it was when it is asked for again: runs that are over are not trained again,
a run that was under way goes on from its last checkpoint.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from finetune.adapter import read_card
from finetune.errors import WoodshedError
from finetune.failures import Diverged
from finetune.progress import say
from finetune.recipe import Recipe, differing_keys, load_recipe
from finetune.run_folder import FREE_KEYS, located, recipe_of
from finetune.tracking import read_log
from finetune.trainer import resume, train
from finetune.watch import best_validation, out_of_patience, smoothed_loss, validations

PLACE = ("name", "output.root")  # of which a sweep makes its folder
MEASURE = ("base.", "data.", "validation.")  # groups whose keys decide how the held-out loss is measured


@dataclass(frozen=True)
class Point:
    """One run of a grid: its name, the values of the keys that differ between runs, and all that it is given."""

    name: str
    values: dict[str, str]
    overrides: list[str]


@dataclass(frozen=True)
class Reached:
    """What a run of a sweep reached; losses are None before they are measured, and without held-out clips."""

    name: str
    values: dict[str, str]
    run: Path
    status: str
    step: int
    held_out_loss_before: float | None
    held_out_loss_after: float | None
    best_held_out_loss: float | None
    best_step: int | None


@dataclass(frozen=True)
class Sweep:
    """The folder of a sweep and its runs, the lowest best held-out loss first. `status`: finished or stopped."""

    folder: Path
    status: str
    runs: list[Reached]


def split_values(text: str) -> list[str]:
    """`8,16,32` → three values; commas in brackets, braces and quotes part nothing."""
    values, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
        elif sign == "," and not depth:
            values.append("")
            continue
        values[-1] += sign
    return values


def grid(overrides: list[str]) -> list[Point]:
    """Every combination of the values of `overrides` (`key=value,value`), named by those that differ between runs.

    Raises WoodshedError when there is nothing to choose from, or a value is missing or there twice.
    """
    choices = {key: split_values(values) for key, _, values in (text.partition("=") for text in overrides)}
    swept = [key for key, values in choices.items() if len(values) > 1]
    if not swept:
        raise WoodshedError("A sweep needs a key with several values, for instance adapter.rank=8,16,32.")
    for key in swept:
        if key in PLACE:
            raise WoodshedError(f"{key} cannot be swept: it says where the folder of the sweep is.")
        if "" in choices[key] or len(set(choices[key])) < len(choices[key]):
            raise WoodshedError(f"{key}={','.join(choices[key])}: a value is missing, or there twice.")
    points = []
    for combination in itertools.product(*choices.values()):
        given = dict(zip(choices, combination, strict=True))
        values = {key: given[key] for key in swept}
        points.append(Point(_name(values), values, [f"{key}={value}" for key, value in given.items()]))
    if len({point.name for point in points}) < len(points):
        points = [
            Point(f"{number}_{point.name}", point.values, point.overrides)
            for number, point in enumerate(points, 1)
        ]
    return points


def _name(values: dict[str, str]) -> str:
    """`rank-8_learning_rate-1e-4`: the last part of each key, or all of it where two end alike."""
    short = [key.rpartition(".")[2] for key in values]
    keys = short if len(set(short)) == len(short) else list(values)
    plain = [re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip("-") for value in values.values()]
    return "_".join(f"{key}-{value}" for key, value in zip(keys, plain, strict=True))


def run_sweep(file: Path, overrides: list[str]) -> Sweep:
    """Train the grid, run after run. Raises WoodshedError before the first when a recipe of it cannot be."""
    points = grid(overrides)
    plain = load_recipe(file, points[0].overrides)
    folder = Path(located(plain).output.root) / plain.name
    recipes = [
        load_recipe(file, [*point.overrides, f"name={point.name}", f"output.root={folder}"])
        for point in points
    ]
    if any(key.startswith(MEASURE) for key in points[0].values):
        say(
            "Keys of base, data or validation change what is measured: the losses of these runs do not compare."
        )
    for point, recipe in zip(points, recipes, strict=True):
        _check_unchanged(folder / point.name, recipe)
    statuses = ["not begun"] * len(points)
    for number, (point, recipe) in enumerate(zip(points, recipes, strict=True)):
        say(f"Run {number + 1} of {len(points)}: {point.name}")
        statuses[number] = _train(folder / point.name, recipe, point.overrides)
        if statuses[number] == "stopped":
            break
    runs = [_reached(folder, point, status) for point, status in zip(points, statuses, strict=True)]
    runs.sort(key=lambda run: (run.best_held_out_loss is None, run.best_held_out_loss))
    return Sweep(folder, "stopped" if "stopped" in statuses else "finished", runs)


def _check_unchanged(run: Path, recipe: Recipe) -> None:
    """Raises WoodshedError when the run was begun with another recipe than it would be now."""
    if not (run / "recipe.yaml").is_file():
        return
    changed = [key for key in differing_keys(recipe_of(run), located(recipe)) if key not in FREE_KEYS]
    if changed:
        raise WoodshedError(
            f"'{run}' was begun with another recipe ({', '.join(changed)} differ), so that the runs of this sweep "
            "would not compare. Give the sweep another name, for instance name=" + run.parent.name + "-2."
        )


def _train(run: Path, recipe: Recipe, overrides: list[str]) -> str:
    """Train a run of the sweep, or what is left of it; returns how it ended."""
    if not (run / "recipe.yaml").is_file():
        work = lambda: train(recipe)
    elif status := _over(run, recipe):
        return status
    else:
        free = [text for text in overrides if text.partition("=")[0] not in PLACE]
        work = lambda: resume(run, free)
    try:
        return work().status
    except Diverged as error:
        say(str(error))
        return "diverged"


def _over(run: Path, recipe: Recipe) -> str | None:
    """How a run that needs no more training ended; None for one that does."""
    rows = read_log(run)
    if smoothed_loss(rows).diverged:
        return "diverged"
    if not (run / "adapter").is_dir():
        return None
    if read_card(run / "adapter").get("step") == recipe.training.steps:
        return "finished"
    return "stopped early" if out_of_patience(rows, recipe.validation.patience) else None


def _reached(folder: Path, point: Point, status: str) -> Reached:
    rows = read_log(folder / point.name)
    checked, best = validations(rows), best_validation(rows)
    return Reached(
        name=point.name,
        values=point.values,
        run=folder / point.name,
        status=status,
        step=rows[-1]["step"] if rows else 0,
        held_out_loss_before=checked[0]["held_out_loss"] if checked else None,
        held_out_loss_after=checked[-1]["held_out_loss"] if checked else None,
        best_held_out_loss=best["held_out_loss"] if best else None,
        best_step=best["step"] if best else None,
    )


def wandb_sweep(file: Path, overrides: list[str]) -> str:
    """The grid as YAML for `wandb sweep`; its agent starts `woodshed train` with one value of each key."""
    points = grid(overrides)
    load_recipe(file, points[0].overrides)
    fixed = [text for text in overrides if text.partition("=")[0] not in points[0].values]
    if not any(text.startswith("tracking.wandb=") for text in fixed):
        fixed.append("tracking.wandb=online")
    parameters: dict[str, Any] = {}
    for key in points[0].values:
        texts = list(dict.fromkeys(point.values[key] for point in points))
        parameters[key] = {"values": [_value(key, text) for text in texts]}
    return yaml.safe_dump(
        {
            "program": "woodshed",
            "method": "grid",
            "metric": {"name": "held_out_loss", "goal": "minimize"},
            "parameters": parameters,
            "command": ["woodshed", "train", str(file), *fixed, "${args_no_hyphens}"],
        },
        sort_keys=False,
        allow_unicode=True,
    )


def _value(key: str, text: str) -> Any:
    """The value of an override; null stays a text, since the agent would write it as Python's None."""
    value = OmegaConf.select(OmegaConf.from_dotlist([f"{key}={text}"]), key)
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return "null" if plain is None else plain
