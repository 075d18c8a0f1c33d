"""The folder of one run, `<output.root>/<name>/`, and what may change when it is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data_prep.dataset import Clip
from finetune.errors import WoodshedError
from finetune.files import from_home, make_folder, remove_leftovers, write_file
from finetune.recipe import Recipe, differing_keys, load_recipe, to_yaml, values

CACHE = ".cache"  # beside the runs, shared by them
# Keys that say what is saved, shown or where it lies; every other one changes what is learned.
FREE_KEYS = {
    "base.model",  # the folder may move; its weights are compared
    "base.shard",
    "data.dataset",  # likewise, and its clips are compared
    "training.steps",  # compared by itself
    "training.checkpoint_every",
    "training.keep_checkpoints",
    "training.device",
    "training.loader_workers",
    "training.gradient_checkpointing",
    "validation.every",
    "validation.patience",
    "samples.every",
    "samples.prompts",
    "samples.seconds",
    "samples.steps",
    "samples.guidance",
    "samples.seed",
    "evaluation.at_end",
    "evaluation.sounds",
    "evaluation.seeds",
    "evaluation.steps",
    "evaluation.minutes",
    "tracking.wandb",
    "tracking.project",
    "tracking.entity",
    "tracking.upload_audio",
    "tracking.upload_adapter",
    "tracking.upload_checkpoints",
}


@dataclass(frozen=True)
class Parent:
    """The run that another one went on from: its name, the step, the hash of its recipe, and its own parent."""

    name: str
    step: int
    recipe_sha256: str
    parent: dict[str, Any] | None = None


def read_parent(run: Path) -> Parent | None:
    """What parent.json of a run says; None for a run that began from nothing."""
    file = run / "parent.json"
    return Parent(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def new_run(recipe: Recipe) -> Path:
    """The folder that a new run will have. Raises WoodshedError when there is a run already."""
    run = from_home(recipe.output.root) / recipe.name
    if run.exists() and any(not path.name.startswith(".") for path in run.iterdir()):
        raise WoodshedError(
            f"There is a run in '{run}' already. Go on with it by `woodshed resume {run}`, or give this one another "
            "name, for instance name=" + recipe.name + "-2."
        )
    return run


def write_recipe(run: Path, recipe: Recipe) -> None:
    """Write recipe.yaml with every key and the folders it names from the root, so that it holds from anywhere."""
    make_folder(run)
    remove_leftovers(run)
    write_file(run / "recipe.yaml", to_yaml(located(recipe)).encode())


def located(recipe: Recipe) -> Recipe:
    """The recipe with its folders as absolute paths; a base that is a name stays one."""
    model, start = recipe.base.model, recipe.adapter.init_from
    is_folder = model != "starter" and from_home(model).is_dir()
    return replace(
        recipe,
        base=replace(recipe.base, model=_absolute(model) if is_folder else model),
        data=replace(recipe.data, dataset=_absolute(recipe.data.dataset)),
        adapter=replace(recipe.adapter, init_from=start and _absolute(start)),
        output=replace(recipe.output, root=_absolute(recipe.output.root)),
    )


def _absolute(path: str) -> str:
    return str(from_home(path).absolute())


def resumed_recipe(run: Path, overrides: list[str]) -> Recipe:
    """The recipe of the run in `run`, wherever that lies now, with `overrides`.

    Raises WoodshedError when there is no run, or when a change would make it another one; the message lists them.
    """
    began = recipe_of(run)
    recipe = located(load_recipe(run / "recipe.yaml", overrides))
    old, new = values(began), values(recipe)
    changed = [key for key in differing_keys(began, recipe) if key not in FREE_KEYS]
    if old["training.steps"] != new["training.steps"] and began.optimizer.schedule == "cosine":
        changed.append("training.steps")
    if changed:
        listed = ", ".join(f"{key} (began with {old[key]}, now {new[key]})" for key in changed)
        raise WoodshedError(
            f"The run '{run}' can only go on as it began; these keys would change what it learns or how that is "
            f"measured: {listed}. Leave them as they were, or go on as a new run: woodshed resume {run} "
            f"{' '.join(overrides)} --fork NAME"
        )
    return replace(recipe, output=replace(recipe.output, root=_absolute(str(run.absolute().parent))))


def forked_recipe(run: Path, name: str, overrides: list[str]) -> Recipe:
    """The recipe of a new run `name` beside `run` that goes on from it with `overrides`."""
    recipe_of(run)
    root = f"output.root={_absolute(str(run.absolute().parent))}"
    given = [] if any(text.startswith("output.root=") for text in overrides) else [root]
    return load_recipe(run / "recipe.yaml", [*overrides, *given, f"name={name}"])


def recipe_of(run: Path) -> Recipe:
    """The recipe that a run was begun with; its folders need not be there any more."""
    file = run / "recipe.yaml"
    if not file.is_file():
        raise WoodshedError(f"There is no run in '{run}' (it would hold recipe.yaml).")
    try:
        began = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Recipe), OmegaConf.load(file)))
    except OmegaConfBaseException as error:
        raise WoodshedError(f"'{file}' was changed and is no recipe now: {error}") from error
    assert isinstance(began, Recipe)
    return began


def recipe_hash(recipe: Recipe) -> str:
    """SHA-256 of the keys that decide what is learned, and of no name or place."""
    ignored = {*FREE_KEYS, "name", "output.root"}
    kept = {key: value for key, value in values(recipe).items() if key not in ignored}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def dataset_hash(clips: Sequence[Clip]) -> str:
    """SHA-256 of everything that training reads of a dataset, but not of where it lies."""
    digest = hashlib.sha256()
    for clip in clips:
        facts = {name: value for name, value in asdict(clip).items() if name != "path"}
        digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()
