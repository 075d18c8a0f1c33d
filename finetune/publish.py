"""What `woodshed publish` would send to the Hugging Face Hub, and sending it: exactly the files of the export."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard, constants
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from finetune.errors import WoodshedError
from finetune.licences import licence_files
from finetune.model_card import card_place
from finetune.provenance import describe
from finetune.provenance.canonical import file_sha256
from finetune.provenance.place import Place, find_place
from finetune.provenance.results import RIGHTS, some
from finetune.provenance.verify import verify

_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Sent:
    """A file, its name in the repository, its bytes and their SHA-256."""

    name: str
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Upload:
    """What would be sent where; `sent` whether it was, then `url` is where it lies."""

    repo: str
    private: bool
    files: list[Sent]
    rights: dict[str, Any]
    licence: str
    checks: list[str]
    sent: bool = False
    url: str | None = None


def plan_upload(export: Path, repo: str, public: bool) -> Upload:
    """The upload of an export, nothing of it sent. WoodshedError for what may not be published, with the reason."""
    if not _REPO.fullmatch(repo):
        raise WoodshedError(f"--repo '{repo}' is not the name of a repository: OWNER/NAME.")
    place = find_place(export)
    files = _files(place)
    seen = describe(place.path)
    if seen.rights is None:
        raise WoodshedError(
            f"Nothing is recorded of the rights in what '{export.name}' learned from, so it is not published. "
            "A run that Woodshed trained has that record."
        )
    if missing := seen.rights["clips_without_rights"]:
        raise WoodshedError(
            f"Of {missing} clips that '{export.name}' learned from no right is stated, so it is not published."
        )
    found = [check for each in verify(place.path) for check in each.checks]
    for check in found:
        if check.status == "failed":
            why = "may not be used" if check.check == RIGHTS else "does not hold"
            raise WoodshedError(
                f"'{export.name}' is not published, for its {check.check} {why}: {check.words}"
            )
    card = ModelCard.load(card_place(place.path).card)
    licence = card.data.get("license_name") or card.data.get("license") or "none"
    words = [f"{check.check}: {check.status}. {check.words}" for check in found]
    return Upload(repo, not public, files, seen.rights, str(licence), words)


def send(upload: Upload) -> str:
    """Send the files in one commit, into a private repository unless it is to be public; returns its address."""
    api = HfApi()
    try:
        url = api.create_repo(upload.repo, private=upload.private, exist_ok=True)
        there = api.model_info(upload.repo)
        if upload.private and there.private is False:
            raise WoodshedError(
                f"'{upload.repo}' is there already and public. Say --public, or name another repository."
            )
        for each in upload.files:
            if file_sha256(Path(each.file)) != each.sha256:
                raise WoodshedError(f"'{each.file}' was changed while it was to be sent; run again.")
        adds = [CommitOperationAdd(each.name, each.file) for each in upload.files]
        api.create_commit(upload.repo, adds, commit_message="An adapter, its card and its licences")
    except (HfHubHTTPError, OfflineModeIsEnabled, httpx.HTTPError, OSError) as error:
        raise _explained(error, upload.repo) from error
    return str(url)


def _files(place: Place) -> list[Sent]:
    """The adapter, its statement, its card and licences; a file in its folder that is none of these is refused."""
    beside = card_place(place.path)
    licences = beside.licences()
    if not beside.card.is_file() or not licences:
        lacks = "card" if not beside.card.is_file() else "licence file of the base"
        raise WoodshedError(
            f"'{place.path.name}' has no {lacks} beside it. `woodshed export` and `woodshed convert --base` write both."
        )
    statement = [place.statement] if place.statement.is_file() else []
    named = {name: place.root / name for name in place.files}
    named |= {path.name: path for path in statement}
    named |= {beside.published(path): path for path in (beside.card, *licences)}
    if place.is_folder:
        parts = [path for path in place.root.rglob("tokenizer*") if path.is_file()]  # of a merged base
        for path in (*licence_files(place.root), *parts):
            named[path.relative_to(place.root).as_posix()] = path
        strange = sorted(
            path.relative_to(place.root).as_posix()
            for path in place.root.rglob("*")
            if path.is_file() and path not in named.values()
        )
        if strange:
            raise WoodshedError(
                f"'{place.path.name}' holds what is no part of an adapter: {some(strange)}. Take it out, or "
                "export anew."
            )
    if any(path.is_symlink() for path in named.values()):
        raise WoodshedError(f"'{place.path.name}' holds links to other files; export anew.")
    return [
        Sent(name, str(path), path.stat().st_size, file_sha256(path)) for name, path in sorted(named.items())
    ]


def _explained(error: Exception, repo: str) -> WoodshedError:
    status = next((e.response.status_code for e in _causes(error) if isinstance(e, HfHubHTTPError)), None)
    if isinstance(error, OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
        what = "HF_HUB_OFFLINE is set. Unset it, and run again."
    elif status == 401:
        what = "the Hub does not know who you are. Run `hf auth login` with a token that may write."
    elif status == 403:
        what = "your token may not write there. Make one that may, or name a repository of your own."
    elif status == 404:
        what = "there is no such owner or repository, or you may not see it."
    elif status is not None:
        what = f"the Hub answered {status}. Try again later."
    else:
        what = f"the Hub ({constants.ENDPOINT}) cannot be reached. Connect to the network and run again."
    return WoodshedError(f"'{repo}' was not published: {what}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
