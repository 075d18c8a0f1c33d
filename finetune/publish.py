"""What `woodshed publish` would send to the Hugging Face Hub, and sending it: exactly the files of the export."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils._validators import validate_repo_id

from finetune.errors import WoodshedError
from finetune.model_card import card_file, named_licences, read_card
from finetune.model_card.place import README
from finetune.provenance import describe
from finetune.provenance.canonical import file_sha256
from finetune.provenance.place import Place, find_place
from finetune.provenance.results import RIGHTS
from finetune.provenance.verify import verify

MESSAGE = "An adapter, its statement, its card and the licences of its base"
_REPO = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_OF_A_BASE = ("tokenizer*", "*.model", "merges.txt", "vocab.txt")  # in the folders of a merged one


@dataclass(frozen=True)
class Sent:
    """A file, its name in the repository, its bytes and their SHA-256."""

    name: str
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Upload:
    """What would be sent where; `sent` whether it was, then `url` is where it lies. `left_out` are files in the
    export's folder that are not of the export, `card` is what the card says to programs."""

    repo: str
    private: bool
    files: list[Sent]
    left_out: list[str]
    card: dict[str, Any]
    rights: dict[str, Any]
    checks: list[str]
    whole_base: bool
    sent: bool = False
    url: str | None = field(default=None)


def plan_upload(export: Path, repo: str, public: bool) -> Upload:
    """The upload of an export, nothing of it sent. WoodshedError for what may not be published, with the reason."""
    _check_name(repo)
    place = find_place(export)
    card = read_card(place.path)
    licences = _licences(place, card)
    seen = describe(place.path)
    if seen.rights is None:
        raise WoodshedError(
            f"Nothing is recorded of the rights in what '{export}' learned from, so it is not published. "
            "A run that Woodshed trained has that record."
        )
    if missing := seen.rights["clips_without_rights"]:
        raise WoodshedError(
            f"Of {missing} clips that '{export}' learned from no right is stated, so it is not published."
        )
    checks = _checked(place)
    files = _files(place, licences)
    ours = card.get("woodshed", {})
    return Upload(
        repo=repo,
        private=not public,
        files=[Sent(name, str(path), path.stat().st_size, file_sha256(path)) for name, path in files.items()],
        left_out=_left_out(place, files),
        card=card,
        rights=seen.rights,
        checks=checks,
        whole_base=isinstance(ours, dict) and ours.get("program") == "merged",
    )


def send(upload: Upload) -> str:
    """Send the files in one commit, into a private repository unless it is to be public; returns its address.

    WoodshedError, nothing being visible in the repository, where the Hub refuses or cannot be reached, where it is
    public already and was to be private, and where a file changed since the plan.
    """
    if constants.HF_HUB_OFFLINE:
        raise _not_published(upload.repo, "HF_HUB_OFFLINE is set. Unset it, and run again.")
    if get_token() is None:
        raise _not_published(
            upload.repo, "there is no token here. Run `hf auth login` with a token that may write, and again."
        )
    for each in upload.files:
        if file_sha256(Path(each.file)) != each.sha256:
            raise WoodshedError(f"'{each.file}' was changed while it was to be sent; run again.")
    api = HfApi(endpoint=constants.ENDPOINT)
    try:
        url = api.create_repo(upload.repo, private=upload.private, exist_ok=True)
        if upload.private and api.model_info(upload.repo).private is not True:
            raise _not_published(
                upload.repo, "it is there already, and public. Say --public, or name another repository."
            )
        adds = [CommitOperationAdd(each.name, each.file) for each in upload.files]
        api.create_commit(upload.repo, adds, commit_message=MESSAGE)
    except WoodshedError:
        raise
    except Exception as error:  # the client lets errors of the network library through, whichever that is
        raise _explained(error, upload.repo) from error
    return str(url)


def _check_name(repo: str) -> None:
    try:
        validate_repo_id(repo)
        valid = bool(_REPO.fullmatch(repo))
    except HFValidationError:
        valid = False
    if not valid:
        raise WoodshedError(
            f"--repo '{repo}' is not the name of a repository. It is OWNER/NAME, both of letters, digits, '-', '_' "
            "and '.', for instance ada/mykit."
        )


def _licences(place: Place, card: dict[str, Any]) -> list[Path]:
    """The licence files of the base, as they were copied. WoodshedError where there is none, or one is not that."""
    named = named_licences(place.path, card)
    if not named:
        raise WoodshedError(
            f"'{place.path}' has no licence file of its base beside it, so it is not published. Export it again, with "
            "--base naming a base that has its licence beside its weights."
        )
    for path, digest in named.items():
        if not path.is_file():
            raise WoodshedError(
                f"The licence file '{path}' is not there any more. Export again, or put it back."
            )
        if file_sha256(path) != digest:
            raise WoodshedError(
                f"The licence file '{path}' is not the base's any more: its bytes were changed."
            )
    return list(named)


def _checked(place: Place) -> list[str]:
    """What `woodshed verify` finds, in sentences. WoodshedError for tampering and for rights that are not there."""
    found = [check for each in verify(place.path) for check in each.checks]
    for check in found:
        if check.status == "failed":
            why = "a clip may not be used" if check.check == RIGHTS else "it is not what was stated"
            raise WoodshedError(f"'{place.path}' is not published, {why} ({check.check}): {check.words}")
    return [f"{check.check}: {check.status}. {check.words}" for check in found if check.status != "not asked"]


def _files(place: Place, licences: list[Path]) -> dict[str, Path]:
    """Name in the repository -> file, all that goes. WoodshedError for a link, which could lead anywhere."""
    paths = [*(place.root / name for name in place.files), *licences]
    if place.statement.is_file():
        paths.append(place.statement)
    if place.is_folder:
        paths += [
            path for pattern in _OF_A_BASE for path in place.root.glob(f"*/{pattern}") if path.is_file()
        ]
    named = {path.relative_to(place.root).as_posix(): path for path in paths}
    named[README] = card_file(place.path)
    for path in named.values():
        if path.is_symlink() or not path.resolve().is_relative_to(place.root.resolve()):
            raise WoodshedError(f"'{path}' is a link to another file and is not published; export again.")
    return dict(sorted(named.items()))


def _left_out(place: Place, files: dict[str, Path]) -> list[str]:
    """Of a folder, what lies in it and does not go."""
    found = place.root.rglob("*") if place.is_folder else []
    gone = set(files.values())
    return sorted(
        path.relative_to(place.root).as_posix() for path in found if path.is_file() and path not in gone
    )


def _explained(error: Exception, repo: str) -> WoodshedError:
    """The sentence for what the client raised."""
    chain = list(_causes(error))
    status = next((each.response.status_code for each in chain if isinstance(each, HfHubHTTPError)), None)
    if any(isinstance(each, OfflineModeIsEnabled) for each in chain):
        what = "HF_HUB_OFFLINE is set. Unset it, and run again."
    elif status == 401:
        what = "the Hub does not know who you are. Run `hf auth login` with a token that may write."
    elif status == 403:
        what = "your token may not write there. Make one that may, or name a repository of your own."
    elif status == 404:
        what = "there is no such owner or repository, or you may not see it."
    elif status is not None:
        what = f"the Hub answered {status}. Try again later."
    elif isinstance(error, ValueError):
        what = f"the Hub does not take the model card ({str(error).splitlines()[0]})."
    elif isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        what = f"a file could not be read: {error}."
    else:
        what = f"the Hub ({constants.ENDPOINT}) cannot be reached. Connect to the network and run again."
    return _not_published(repo, what)


def _not_published(repo: str, what: str) -> WoodshedError:
    return WoodshedError(f"'{repo}': not published, {what}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
