"""`woodshed publish`: parse, call, print."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from finetune.command_line import AsJson, report, words

if TYPE_CHECKING:
    from finetune.publish import Upload


def publish(
    export: Annotated[
        Path, typer.Argument(metavar="EXPORT", help="What `woodshed export` wrote: a file or a folder.")
    ],
    repo: Annotated[str, typer.Option(metavar="OWNER/NAME", help="The repository on the Hugging Face Hub.")],
    yes: Annotated[bool, typer.Option("--yes", help="Send it. Without, nothing is sent.")] = False,
    public: Annotated[
        bool, typer.Option("--public", help="For everybody to see; unsaid, the repository is private.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what would be sent to the Hugging Face Hub, file by file; send it only with --yes.

    Without --yes nobody is asked anything: each file is listed with its size and SHA-256, and what the card says of
    rights and licence is told. Only the export's own files go: weights, configuration, statement, card, licences.

    It is refused where the rights in what it learned from are missing or withdrawn, where it is not what its statement
    says, and without its card and the base's licence. Sending needs `hf auth login` once.

    Example: woodshed publish runs/mykit/export/mykit-comfyui.safetensors --repo ada/mykit
    """
    from finetune.publish import plan_upload
    from finetune.publish_send import send

    upload = plan_upload(export, repo, public)
    if yes:
        upload = replace(upload, url=send(upload), sent=True)
    if as_json:
        report(upload, as_json, "")
    else:
        words.print(escape("\n".join(_lines(upload))), soft_wrap=True)


def _lines(upload: Upload) -> Iterator[str]:
    yield f"{'Sent' if upload.sent else 'Would go'} to {upload.repo} ({'private' if upload.private else 'public'}):"
    for sent in upload.files:
        yield f"  {sent.name}  {sent.bytes:,} bytes  SHA-256 {sent.sha256}"
    if upload.left_out:
        yield f"Stays here, not of the export: {', '.join(upload.left_out)}"
    if upload.whole_base:
        yield "This is the whole base with the adapter in it: its licence must let you pass on the base itself."
    yield f"Licence, as the card says: {upload.licence}"
    yield "Rights, as recorded and as the card was written with:"
    for each in upload.rights.bases:
        yield f"  {each.basis}: {each.clips} clips of {each.recordings} recordings, {each.minutes:g} min"
    yield from (f"  licence of recordings: {text}" for text in upload.rights.licences)
    yield from (f"  restriction: {text}" for text in upload.rights.restrictions)
    yield "Checked, as `woodshed verify` does:"
    yield from (f"  {check}" for check in upload.checks)
    yield f"Sent: {upload.url}" if upload.sent else "Nothing was sent. To send it, say --yes."
