"""Bases from the Hugging Face Hub, through its own client: its token, its cache, its offline switch.

Only what a base needs is fetched, and only for a name that the user gave. What the cache holds is taken without
asking the network.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from finetune.base_model.stability.geometry import read_geometry
from finetune.errors import WoodshedError

FAMILY = ("small-music", "small-sfx", "medium")
SHORT_NAMES = {
    name: f"stabilityai/stable-audio-3-{name}" for base in FAMILY for name in (base, f"{base}-base")
}
DIFFUSERS_PARTS = ("transformer", "duration_embedder", "vae", "text_encoder", "tokenizer")
_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_TERMS = ("LICENSE*", "LICENCE*", "NOTICE*")
_FACTS = ["model_config.json", "transformer/config.json", *_TERMS]
_DIFFUSERS = [
    f"{part}/{kind}"
    for part in (*DIFFUSERS_PARTS, "scheduler")
    for kind in ("*.json", "*.safetensors", *_TERMS)
]


def hub_name(model: str) -> str | None:
    """The repository that `model` names (`small-music-base`, `stabilityai/…`, any `owner/name`), None for no such."""
    full = SHORT_NAMES.get(model, model)
    return full if _NAME.fullmatch(full) else None


def is_cached(repo: str) -> bool:
    """Whether the Hub's cache knows the repository."""
    return (Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}").is_dir()


def fetch_base(repo: str) -> Path:
    """The folder of a base in the Hub's cache, fetched where it is not there yet: facts first, then weights.

    WoodshedError, with what to do, for a name that is not there, a licence not agreed to, no network, a full disk.
    """
    root = _fetch(repo, _FACTS, "model_config.json", "transformer/config.json")
    if not (root / "model_config.json").is_file():
        return _fetch(repo, _FACTS + _DIFFUSERS, "transformer/config.json")
    folder = read_geometry(
        root / "model_config.json"
    ).text_folder  # another kind is refused before its weights come
    return _fetch(repo, [*_FACTS, "model.safetensors", *_text_files(folder)], "model.safetensors")


def find_cached_base(repo: str) -> Path | None:
    """The folder of a base in the Hub's cache; None where it is not there."""
    return _cached(repo, _FACTS, "model.safetensors", "transformer/config.json")


def fetch_text_encoder(repo: str, folder: str, fetch: bool) -> Path:
    """The folder of a text encoder in the Hub's cache, fetched where `fetch` allows it."""
    wanted = f"{folder}/config.json", f"{folder}/model.safetensors"
    if not fetch and not _cached(repo, _text_files(folder), *wanted):
        raise WoodshedError(
            f"base.model: the text encoder's folder, '{folder}', is not beside model.safetensors. Put it there, or let "
            f"`hf download {repo} --include '{folder}/*'` fetch it to where Woodshed finds it."
        )
    return _fetch(repo, _text_files(folder), *wanted) / folder


def _text_files(folder: str) -> list[str]:
    return [f"{folder}/{kind}" for kind in ("*.json", "*.safetensors", "tokenizer*", *_TERMS)]


def _fetch(repo: str, patterns: list[str], *wanted: str) -> Path:
    """The repository's folder with the files of `patterns`, one of `wanted` being among them."""
    root = _cached(repo, patterns, *wanted)
    if root is not None:
        return root
    try:
        root = Path(snapshot_download(repo, allow_patterns=patterns))
    except Exception as error:  # the client lets errors of the network library through, whichever that is
        raise _explained(error, repo) from error
    if not any((root / name).is_file() for name in wanted):
        raise WoodshedError(
            f"base.model: '{repo}' on the Hub has no {' and no '.join(wanted)}: it is no base that Woodshed can read. "
            f"{_known_names()}"
        )
    return root


def _cached(repo: str, patterns: list[str], *wanted: str) -> Path | None:
    """The folder if the cache holds everything of `patterns`; nothing is asked of the network."""
    try:
        root = Path(snapshot_download(repo, allow_patterns=patterns, local_files_only=True))
    except (OSError, ValueError):
        return None
    return root if any((root / name).is_file() for name in wanted) else None


def _explained(error: Exception, repo: str) -> WoodshedError:
    """The sentence for what the client raised."""
    page = f"{constants.ENDPOINT}/{repo}"
    chain = list(_causes(error))
    status = next((e.response.status_code for e in chain if isinstance(e, HfHubHTTPError)), None)
    if any(isinstance(e, OSError) and e.errno == errno.ENOSPC for e in chain):
        what = (
            f"the disk of the Hub's cache ('{constants.HF_HUB_CACHE}') is full. Make room, or put the cache "
            "elsewhere with HF_HUB_CACHE=FOLDER, and run again."
        )
    elif any(isinstance(e, OfflineModeIsEnabled) for e in chain):
        what = "HF_HUB_OFFLINE is set and the Hub's cache does not hold it. Unset it once to fetch the base."
    elif isinstance(error, GatedRepoError) or status == 403:
        what = f"its licence has to be agreed to first: open {page} while signed in, agree, then run `hf auth login`."
    elif status == 401:
        what = (
            f"the Hub asks who you are. Open {page} to see whether it is there and to agree to its licence, then run "
            f"`hf auth login` here. {_known_names()}"
        )
    elif status == 404:
        what = f"there is neither a folder nor a repository on the Hub of that name. {_known_names()}"
    elif status is not None:
        what = f"the Hub answered {status}. Try again later."
    elif "Consistency check" in str(error):
        what = (
            f"a file came shorter or longer than announced ({str(error).splitlines()[0]}). Run again; whole files are "
            "kept."
        )
    elif isinstance(error, OSError) and not isinstance(error, LocalEntryNotFoundError | ConnectionError):
        what = f"it could not be written to the Hub's cache: {error}."
    else:
        what = (
            f"the Hub ({constants.ENDPOINT}) cannot be reached. Connect to the network and run again; whole files are "
            "kept."
        )
    return WoodshedError(f"base.model: '{repo}' could not be fetched: {what}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _known_names() -> str:
    return f"Known names: starter, {', '.join(SHORT_NAMES)}."
