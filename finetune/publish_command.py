"""`woodshed publish`: parse, call, print."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from finetune.command_line import AsJson, report


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

    Only the export's own files go: weights, configuration, statement, card, licences. It is refused where the rights
    in what it learned from are missing or withdrawn, where it is not what its statement says, and without a card and
    a licence file. Sending needs `hf auth login` once.

    Example: woodshed publish runs/mykit/export/mykit-comfyui.safetensors --repo ada/mykit
    """
    from finetune.publish import plan_upload, send

    upload = plan_upload(export, repo, public)
    if yes:
        upload = replace(upload, url=send(upload), sent=True)
    lines = [f"{'To' if yes else 'Would go to'} {repo} ({'private' if upload.private else 'public'}):"]
    lines += [f"  {each.name}  {each.bytes:,} bytes  SHA-256 {each.sha256}" for each in upload.files]
    lines += [f"Licence in the card: {upload.licence}"]
    bases = upload.rights["bases"].items()
    lines += [f"Rights: {basis}, {each['clips']} clips, {each['minutes']:g} min" for basis, each in bases]
    lines += upload.checks
    lines.append(f"Sent: {upload.url}" if yes else "Nothing was sent. To send it, say --yes.")
    report(upload, as_json, escape("\n".join(lines)))
