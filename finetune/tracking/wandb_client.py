"""The client of Weights & Biases, kept from saying more about this machine than it is asked to.

It reports its own errors to its makers unless told not to before it loads. It also sends, in the manifest of an
artifact, the path that each file has here; so files are copied to a folder of their own, in which its helper process
is started, and go by a name relative to that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ["WANDB_ERROR_REPORTING"] = "false"

import psutil
import wandb

__all__ = ["abandon", "artifact_of", "clear_staging", "in_staging", "wandb"]

_STAGING = tempfile.TemporaryDirectory(prefix="woodshed-", ignore_cleanup_errors=True)


@contextlib.contextmanager
def in_staging() -> Iterator[None]:
    """Start the client within: its helper process works in the current folder."""
    with contextlib.chdir(_STAGING.name):
        yield


def artifact_of(
    name: str, kind: str, metadata: dict[str, Any], contents: Mapping[str, bytes | Path]
) -> wandb.Artifact:
    """An artifact of copies of files, or bytes, under the names that they have in it."""
    artifact = wandb.Artifact(name, type=kind, metadata=metadata)
    for inside, content in contents.items():
        staged = Path(_STAGING.name) / uuid.uuid4().hex
        if isinstance(content, bytes):
            staged.write_bytes(content)
        else:
            shutil.copyfile(content, staged)
        entry = artifact.add_file(str(staged), inside, skip_cache=True, policy="immutable")
        entry.local_path = staged.name
    return artifact


def clear_staging() -> None:
    """Remove the copies once they are sent, or never will be."""
    for file in Path(_STAGING.name).iterdir():
        if file.is_file():
            file.unlink()


def abandon() -> None:
    """End the helper process, which would else keep this one from ending while something is still to be sent."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if child.name().startswith("wandb-core"):
                child.kill()
    with contextlib.suppress(Exception, SystemExit):
        wandb.teardown()  # it would else be done, and fail, at the end of the process
