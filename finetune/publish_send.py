"""Sending what `woodshed publish --yes` sends, through the Hub's own client: in one commit, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from finetune.errors import WoodshedError
from finetune.provenance.canonical import file_sha256
from finetune.publish import Upload

MESSAGE = "An adapter, its statement, its card and the licences of its base"


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
        _check_visibility(upload, bool(api.model_info(upload.repo).private))
        adds = [CommitOperationAdd(each.name, each.file) for each in upload.files]
        api.create_commit(upload.repo, adds, commit_message=MESSAGE)
    except WoodshedError:
        raise
    except Exception as error:  # the client lets errors of the network library through, whichever that is
        raise _explained(error, upload.repo) from error
    return str(url)


def _check_visibility(upload: Upload, private: bool) -> None:
    """WoodshedError where the repository was there already, and is not what was asked for."""
    if upload.private and not private:
        what = "it is there already, and public. Say --public, or name another repository."
    elif private and not upload.private:
        what = "it is there already, and private. Leave --public out, or make it public on its page first."
    else:
        return
    raise _not_published(upload.repo, what)


def _explained(error: Exception, repo: str) -> WoodshedError:
    """The sentence for what the client raised."""
    chain = list(_causes(error))
    status = next((each.response.status_code for each in chain if isinstance(each, HfHubHTTPError)), None)
    if any(isinstance(each, OfflineModeIsEnabled) for each in chain):
        what = "HF_HUB_OFFLINE is set. Unset it, and run again."
    elif "Invalid metadata" in str(error):
        what = f"the Hub does not take the head of the model card: {' '.join(str(error).split())}"
    elif status == 401:
        what = "the Hub does not know who you are. Run `hf auth login` with a token that may write."
    elif status == 403:
        what = "your token may not write there. Make one that may, or name a repository of your own."
    elif status == 404:
        what = "there is no such owner or repository, or you may not see it."
    elif status is not None:
        what = f"the Hub answered {status}. Try again later."
    elif isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        what = f"a file could not be read: {error}."
    elif isinstance(error, ValueError | KeyError):
        what = (
            f"the Hub ({constants.ENDPOINT}) answered what is not understood here ({error}). Try again later."
        )
    else:
        what = f"the Hub ({constants.ENDPOINT}) cannot be reached. Connect to the network and run again."
    return _not_published(repo, what)


def _not_published(repo: str, what: str) -> WoodshedError:
    return WoodshedError(f"'{repo}': not published, {what}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
