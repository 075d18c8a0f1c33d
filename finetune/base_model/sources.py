"""What the name of a base means: the starter, a folder in one of two layouts, or a repository on the Hub."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from finetune.base_model.hub import (
    DIFFUSERS_PARTS,
    SHORT_NAMES,
    fetch_base,
    find_cached_base,
    hub_name,
    is_cached,
)
from finetune.base_model.stability.base import CONFIG, WEIGHTS, text_encoder_folder
from finetune.base_model.stability.cache import file_hash
from finetune.base_model.stability.geometry import read_geometry
from finetune.errors import WoodshedError
from finetune.files import from_home

PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")


def find_base(model: str) -> Path:
    """The folder of the base called `model`; a base on the Hub is fetched if its cache lacks it.

    `model` is `starter`, a folder in Stability's or diffusers' layout, a short name (`small-music-base`) or
    `owner/name`. Raises WoodshedError when it is none of them, or not whole.
    """
    if model == "starter":
        return Path(str(files("finetune.base_model.starter") / "weights"))
    path = from_home(model)
    repo = hub_name(model)
    if not path.exists() and repo is not None:
        return fetch_base(repo)
    _refuse_other_kinds(path, model)
    if not is_stability(path):
        missing = [part for part in DIFFUSERS_PARTS if not (path / part).is_dir()]
        if missing:
            raise WoodshedError(f"base.model: '{model}' is not a whole base, it lacks {', '.join(missing)}.")
    return path


def find_local_base(model: str) -> Path | None:
    """The folder of the base called `model` where it lies on this machine; nothing is fetched."""
    repo = hub_name(model)
    if model == "starter" or from_home(model).exists():
        return find_base(model)
    return find_cached_base(repo) if repo else None


def is_base(source: str) -> bool:
    """Whether `source` names a base, not an adapter or a run; nothing is fetched to know it."""
    if source == "starter" or source in SHORT_NAMES:
        return True
    path, repo = from_home(source), hub_name(source)
    if path.exists() or repo is None:
        return is_stability(path) or (path / "transformer" / "config.json").is_file()
    return repo.startswith("stabilityai/") or is_cached(repo)


def base_to_train(model: str) -> str:
    """The name of the base that belongs to the post-trained model called `model`."""
    path, repo = from_home(model), hub_name(model)
    if path.exists():  # the text encoder is named after the post-trained model of the same size
        repo = read_geometry(path / CONFIG).text_repo if is_stability(path) else None
    for short, full in SHORT_NAMES.items():
        if full == repo and not short.endswith("-base"):
            return f"{short}-base"
    return f"{repo}-base" if repo and not path.exists() else "NAME-base"


def is_stability(root: Path) -> bool:
    """Whether a folder holds a base in Stability's own layout."""
    return (root / CONFIG).is_file()


def fingerprint(root: Path, remembered: bool = True) -> str:
    """SHA-256 over the names and contents of a base's weights and configurations.

    Of a base in Stability's layout: model_config.json, model.safetensors and the text encoder's folder, wherever
    that lies; so a base fetched from the Hub and a copy of its files are the same base. Hashes of large files are
    `remembered` until their size or time changes.
    """
    if is_stability(root):
        geometry = read_geometry(root / CONFIG)
        text = text_encoder_folder(root, geometry, fetch=False)
        named = [(path.name, path) for path in (root / CONFIG, root / WEIGHTS)]
        named += [(f"{geometry.text_folder}/{path.name}", path) for path in _weights_and_configs(text)]
    else:
        named = [(path.relative_to(root).as_posix(), path) for path in _weights_and_configs(root)]
    digest = hashlib.sha256()
    for name, path in sorted(named):
        digest.update(name.encode() + b"\0" + bytes.fromhex(file_hash(path, remembered)))
    return digest.hexdigest()


def _weights_and_configs(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.suffix in (".safetensors", ".json")]


def _refuse_other_kinds(path: Path, model: str) -> None:
    """Raise WoodshedError for a path that is not the folder of a base."""
    if path.suffix.lower() in PICKLES and path.is_file():
        raise _pickle(path)
    if path.is_file():
        raise WoodshedError(
            f"base.model: '{model}' is a file. Name the folder that holds model.safetensors with its model_config.json "
            "and the text encoder's folder."
        )
    if not path.is_dir():
        raise WoodshedError(
            f"base.model: there is no folder '{model}'. Name 'starter', a folder of a Stable Audio 3 base, or one on "
            f"the Hub: {', '.join(SHORT_NAMES)}, or OWNER/NAME."
        )
    if is_stability(path) and not (path / WEIGHTS).is_file():
        pickles = sorted(file for file in path.iterdir() if file.suffix.lower() in PICKLES)
        if pickles:
            raise _pickle(pickles[0])
        raise WoodshedError(f"base.model: '{model}' is not a whole base, it lacks {WEIGHTS}.")


def _pickle(path: Path) -> WoodshedError:
    return WoodshedError(
        f"base.model: '{path}' is a pickle, which can run any program when it is opened, so Woodshed does not open it. "
        'If you trust who made it, convert it where that does no harm, for instance: python -c "import torch, '
        f"safetensors.torch as s; s.save_file(torch.load('{path.name}', weights_only=True)['state_dict'], "
        f"'{WEIGHTS}')\"; then name the folder of {WEIGHTS} and {CONFIG}."
    )
