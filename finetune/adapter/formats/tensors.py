"""One safetensors file, read with distrust and written with its hash in the header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from finetune.adapter.formats.metadata import CARD, TENSORS
from finetune.adapter.formats.tensor_hash import tensor_hash
from finetune.errors import WoodshedError
from finetune.files import write_file

PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
_HASH_KEYS = {"modelspec.hash_sha256": "0x{}", "sshs_model_hash": "{}"}


@dataclass(frozen=True)
class Stored:
    """The tensors of a file, as stored, and the texts of its header."""

    path: Path
    tensors: dict[str, torch.Tensor]
    header: dict[str, str]


def read_tensors(path: Path) -> Stored:
    """Read a safetensors file whole.

    Raises WoodshedError for a pickle, a file that is damaged, and values that are no finite numbers.
    """
    refuse_pickle(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from error
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            raise WoodshedError(
                f"'{path}' holds whole numbers ({tensor.dtype}) in '{name}', which are no adapter's weights."
            )
        if not bool(torch.isfinite(tensor.float()).all()):
            raise WoodshedError(
                f"'{path}' holds NaN or infinite numbers, for instance in '{name}': its training went astray. Use an "
                "earlier checkpoint."
            )
    return Stored(path, tensors, header)


def read_header(path: Path) -> tuple[dict[str, str], list[str]]:
    """The header's texts and the names of the tensors, without reading those."""
    refuse_pickle(path)
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {}), list(file.keys())
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from error


def refuse_pickle(path: Path) -> None:
    """Raise WoodshedError for a pickle, by its name or its first bytes; opening one can run any code."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise WoodshedError(f"'{path}' cannot be read: {error.strerror or error}.") from error
    if path.suffix.lower() in PICKLE_SUFFIXES or start.startswith(_PICKLE_STARTS):
        raise WoodshedError(
            f"'{path.name}' is a pickle, which can run any program when it is opened, so Woodshed does not open it. "
            "If you trust who made it, convert it where it was made: in Stability's stable-audio-3, "
            f"stable_audio_3.models.lora.convert_lora_ckpt_to_safetensors('{path.name}') writes a .safetensors file."
        )


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], header: Mapping[str, str]) -> None:
    """Write beside `path` and rename. The header gets the SHA-256 of all bytes after it, as ModelSpec and the
    web UIs count it, where it has room for it."""
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    start = 8 + int.from_bytes(content[:8], "little")
    digest = hashlib.sha256(memoryview(content)[start:]).hexdigest()
    hashes = {key: form.format(digest) for key, form in _HASH_KEYS.items()}
    write_file(path, with_header(content, with_tensor_hash({"format": "pt", **header, **hashes}, content)))


def with_tensor_hash(header: Mapping[str, str], content: bytes) -> dict[str, str]:
    """The header, whose card, where it has one, says the hash of the tensors in `content`."""
    if CARD not in header:
        return dict(header)
    card = json.loads(header[CARD]) | {TENSORS: tensor_hash(content)}
    return {**header, CARD: json.dumps(card, sort_keys=True)}


def with_header(content: bytes, header: Mapping[str, str]) -> bytes:
    """A safetensors file that had none with this header, in the order of its keys: the library's own has no order, and
    the same adapter would be other bytes each time."""
    start = 8 + int.from_bytes(content[:8], "little")
    whole = {"__metadata__": dict(sorted(header.items())), **json.loads(content[8:start])}
    text = json.dumps(whole, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at whole words
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[start:]))


def _damaged(path: Path, error: Exception) -> WoodshedError:
    return WoodshedError(
        f"'{path}' cannot be read as a safetensors file; it is damaged or cut off, or of another kind: {error}"
    )
