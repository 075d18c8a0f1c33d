"""What a first load found out about a checkpoint, so that the next need not: its hash, and its converted tensors.

The folder is `woodshed` beside the hub's cache. Per checkpoint it holds `<SHA-256>/<dtype>.safetensors` with the
tensors whose bytes differ from Stability's (another type, another order of rows), and the licence. Everything in it
can be deleted at any time. Trouble with it never stops a load.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import torch
from huggingface_hub import constants
from safetensors import SafetensorError
from safetensors.torch import save_file

from finetune.base_model.stability.checkpoint import Checkpoint
from finetune.errors import WoodshedError
from finetune.files import PART, write_file

SMALLEST_BYTES = 100e6  # a smaller file is hashed and converted faster than it is looked up
SPARE_BYTES = 2e9  # of the disk, left to others


def cache_folder() -> Path:
    return Path(constants.HF_HUB_CACHE).expanduser().parent / "woodshed"


def file_hash(path: Path, remembered: bool = True) -> str:
    """SHA-256 of a file's contents; of a large one remembered, until its size or time changes, unless told not to.

    Raises WoodshedError for a file of the hub's cache whose contents are not those that its name promises.
    """
    real = path.resolve()
    size = real.stat().st_size
    facts = {"path": str(real), "bytes": size, "changed": real.stat().st_mtime_ns}
    note = cache_folder() / "hashes" / f"{hashlib.sha256(str(real).encode()).hexdigest()[:32]}.json"
    if size >= SMALLEST_BYTES and remembered:
        with suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(note.read_text(encoding="utf-8"))
            if {key: known[key] for key in facts} == facts:
                return str(known["sha256"])
    with real.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if real.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", real.name) and real.name != digest:
        raise WoodshedError(
            f"'{path}' is not what the Hub gave its hash for: it was cut short or changed. Delete '{real}' and run "
            "again."
        )
    if size >= SMALLEST_BYTES:
        with suppress(OSError):
            write_file(note, json.dumps(facts | {"sha256": digest}).encode())
    return digest


def converted_file(weights: Path, dtype: torch.dtype) -> Path | None:
    """Where what a load in `dtype` converts of a checkpoint is kept, None for a small one."""
    if weights.stat().st_size < SMALLEST_BYTES:
        return None
    return cache_folder() / file_hash(weights) / f"{str(dtype).removeprefix('torch.')}.safetensors"


def read_converted(path: Path) -> Checkpoint | None:
    """The converted tensors of an earlier load, None where there are none or they are damaged."""
    if not path.is_file():
        return None
    try:
        return Checkpoint(path)
    except WoodshedError:
        with suppress(OSError):
            path.unlink()
        return None


def write_converted(path: Path, made: dict[str, torch.Tensor], licence: Path | None) -> None:
    """Keep what a load converted. Says on stderr, in one sentence, why it could not."""
    needed = sum(tensor.nbytes for tensor in made.values())
    beside = path.with_name(f".{path.name}{PART}{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if free < needed + SPARE_BYTES:
            raise OSError(f"it needs {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB of the disk are free")
        save_file({name: tensor.cpu().contiguous() for name, tensor in made.items()}, beside)
        beside.replace(path)
        if licence is not None:
            write_file(path.parent / licence.name, licence.read_bytes())
    except (OSError, SafetensorError) as error:
        print(
            f"The base is loaded; its converted form was not kept in '{path.parent}' ({error}), so that the next load "
            "takes as long as this one.",
            file=sys.stderr,
        )
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
