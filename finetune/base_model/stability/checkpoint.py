"""One safetensors file, its header checked, its tensors mapped from the disk and looked at one at a time."""

from __future__ import annotations

import contextlib
import json
import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from finetune.errors import WoodshedError

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_BLOCK = 1 << 23  # values in memory at a time besides those that stay


@dataclass(frozen=True)
class _Entry:
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


class Checkpoint:
    """Tensors of the safetensors file at `path` by name. WoodshedError for a file that is cut short or lies.

    Tensors are views of the file, and keep it mapped; what is written to them does not reach it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with safe_open(path, framework="pt"):
                pass  # checks the whole header: sizes, offsets without gaps or overlaps, the length of the file
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = json.loads(file.read(length))
                self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, SafetensorError, ValueError) as error:
            raise WoodshedError(
                f"'{path}' cannot be read as a safetensors file; it is cut short, damaged or of another kind "
                f"({error}). Fetch it again."
            ) from error
        first = 8 + length
        self._entries = {
            name: _Entry(
                entry["dtype"], tuple(entry["shape"]), *(first + offset for offset in entry["data_offsets"])
            )
            for name, entry in header.items()
            if name != "__metadata__"
        }

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._entries[name].shape

    def tensor(self, name: str) -> torch.Tensor:
        """The stored tensor, not read from the disk before somebody looks at it."""
        entry = self._entries[name]
        if entry.dtype not in _DTYPES:
            raise WoodshedError(
                f"'{self.path}' stores '{name}' as {entry.dtype}; Woodshed reads floating-point weights "
                f"({', '.join(_DTYPES)})."
            )
        dtype = _DTYPES[entry.dtype]
        if entry.start == entry.stop:
            return torch.empty(entry.shape, dtype=dtype)
        count = math.prod(entry.shape)
        return torch.frombuffer(self._mapped, dtype=dtype, count=count, offset=entry.start).view(entry.shape)

    def dtype(self, name: str) -> torch.dtype | None:
        return _DTYPES.get(self._entries[name].dtype)

    def copy(self, name: str, dtype: torch.dtype, check: bool) -> torch.Tensor:
        """The tensor as `dtype`, in memory of its own, read a block at a time; `check` that every number is finite.

        Its memory is aligned as any other's: products of single rows are rounded by how their weights lie.
        """
        stored = self.tensor(name)
        copied = torch.empty(stored.shape, dtype=dtype)
        source, target = stored.reshape(-1), copied.view(-1)
        for start in range(0, len(source), _BLOCK):
            block = slice(start, start + _BLOCK)
            target[block] = source[block]
            if check:
                check_finite(target[block], source[block], f"'{self.path}'", name)
            self.release(name)
        return copied

    def release(self, name: str) -> None:
        """Give the memory of a tensor that was looked at back to the system; the file still holds it."""
        entry = self._entries[name]
        first = -(-entry.start // mmap.PAGESIZE) * mmap.PAGESIZE
        whole_pages = (entry.stop - first) // mmap.PAGESIZE * mmap.PAGESIZE
        if whole_pages > 0 and hasattr(mmap, "MADV_DONTNEED"):
            with contextlib.suppress(OSError):  # advice; a system may refuse it
                self._mapped.madvise(mmap.MADV_DONTNEED, first, whole_pages)


def check_finite(ready: torch.Tensor, stored: torch.Tensor, file: str, key: str) -> None:
    """Raise WoodshedError for NaN or infinity in the converted tensor: its sum shows them in one pass."""
    if ready.sum(dtype=torch.float32).isfinite() or ready.isfinite().all():
        return
    if stored.isfinite().all():
        raise WoodshedError(
            f"{file} has numbers in '{key}' that {str(ready.dtype).removeprefix('torch.')} cannot hold; take "
            "base.dtype=bfloat16 or float32."
        )
    raise WoodshedError(f"{file} has NaN or infinity in '{key}': the file is damaged. Fetch it again.")
