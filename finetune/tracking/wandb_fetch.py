"""A run that began on another machine, fetched from Weights & Biases so that it goes on here."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from finetune.errors import WoodshedError
from finetune.files import write_file, write_folder
from finetune.recipe import Recipe, load_recipe
from finetune.run_folder import located, new_run, write_recipe
from finetune.tracking.uploads import checkpoint_name
from finetune.tracking.wandb_client import in_staging, wandb
from finetune.tracking.wandb_run import WANDB_ID

ADDRESS = "wandb:"
SECONDS = 30
HERE = ("data.dataset", "base.model")  # keys that say where something lies on this machine
_NAME = re.compile(
    r"([A-Za-z0-9_-][A-Za-z0-9_.-]*/)*[A-Za-z0-9_-][A-Za-z0-9_.-]*\.(safetensors|json|jsonl|yaml)"
)


def fetch_run(address: str, root: Path | None, overrides: list[str]) -> Path:
    """Make the folder of the run at `wandb:entity/project/run`, under `root` or where the recipe says.

    Of `overrides`, `data.dataset` and `base.model` say where these lie here; that they are the same is checked by hash
    when training goes on. Raises WoodshedError when something is missing; nothing is written then.
    """
    entity, project, wandb_id = _parts(address)
    here = [text for text in overrides if text.partition("=")[0] in HERE]
    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder)
        _download(f"{entity}/{project}/{checkpoint_name(wandb_id)}:latest", address, fetched)
        given = here + ([f"output.root={root}"] if root else [])
        recipe = _recipe(fetched / "recipe.yaml", address, given)
        tracking = replace(recipe.tracking, wandb="online", entity=entity, project=project)
        recipe = located(replace(recipe, tracking=tracking))
        run = new_run(recipe)
        with write_folder(run) as part:
            for file in fetched.rglob("*"):
                if file.is_file():
                    write_file(part / file.relative_to(fetched), file.read_bytes())
            write_file(part / WANDB_ID, wandb_id.encode())
            write_recipe(part, recipe)
    return run


def _parts(address: str) -> list[str]:
    parts = address.removeprefix(ADDRESS).split("/")
    if len(parts) != 3 or not all(re.fullmatch(r"[\w.-]+", part) for part in parts):
        raise WoodshedError(
            f"'{address}' is no address of a run; it is wandb:ENTITY/PROJECT/RUN, as `woodshed train` says it."
        )
    return parts


def _download(artifact_name: str, address: str, folder: Path) -> None:
    try:
        with in_staging():
            artifact = wandb.Api(timeout=SECONDS).artifact(artifact_name, type="checkpoint")
            _check_names(artifact.manifest.entries)
            artifact.download(str(folder), skip_cache=True)
    except (wandb.errors.Error, ValueError, OSError) as error:
        raise WoodshedError(
            f"No checkpoint of '{address}' could be fetched ({error}). A run keeps them there when it is trained with "
            "tracking.wandb=online tracking.upload_checkpoints=true; `wandb login` says who you are."
        ) from error


def _check_names(names: Iterable[str]) -> None:
    """Raises ValueError for a file that would be written elsewhere than a run's files are, or is none of them."""
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"it holds '{name}', which is no part of a run")


def _recipe(file: Path, address: str, overrides: list[str]) -> Recipe:
    try:
        return load_recipe(file, overrides)
    except WoodshedError as error:
        said = str(error).replace(str(file), f"The recipe of {address}")
        raise WoodshedError(f"{said}\nWhat lies elsewhere here is named: {', '.join(HERE)}=…") from error
