"""The hash of the tensors of a safetensors file: the same whatever its header says and in whatever order they lie."""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path

from finetune.errors import WoodshedError

LARGEST_HEADER = 100_000_000  # what the safetensors library allows


def tensor_hash(content: bytes | memoryview | mmap.mmap) -> str:
    """SHA-256 over the tensors of a whole safetensors file, by their names: of each a line of JSON with name, type and
    shape, then its bytes. WoodshedError where the file's own words do not fit its length."""
    view = memoryview(content)
    try:
        start = 8 + int.from_bytes(view[:8], "little")
        if not 8 < start <= min(len(view), LARGEST_HEADER):
            raise ValueError("its header is longer than the file")
        entries = {
            name: entry for name, entry in json.loads(bytes(view[8:start])).items() if name != "__metadata__"
        }
        digest = hashlib.sha256()
        for name, entry in sorted(entries.items()):
            first, end = entry["data_offsets"]
            if not 0 <= first <= end <= len(view) - start:
                raise ValueError(f"'{name}' lies outside of the file")
            digest.update(json.dumps([name, entry["dtype"], entry["shape"], end - first]).encode() + b"\n")
            digest.update(view[start + first : start + end])
        return digest.hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WoodshedError(f"This is no whole safetensors file: {error}.") from error
    finally:
        view.release()


def file_tensor_hash(path: Path) -> str:
    """The same of a file, which is mapped into memory, not read into it."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return tensor_hash(content)
    except (OSError, ValueError) as error:
        raise WoodshedError(f"'{path}' cannot be read as a safetensors file: {error}.") from error
    except WoodshedError as error:
        raise WoodshedError(f"'{path}': {error}") from error
