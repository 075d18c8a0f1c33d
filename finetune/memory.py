"""How much memory there is, how much is used, and how much a forward pass keeps for the backward pass."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import psutil
import torch

from finetune.rank import processes_here

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def available(device: torch.device) -> int:
    """Bytes that this process may still take: of the GPU, or of main memory, which processes of one run share."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available) // processes_here()


class Kept:
    """Bytes of distinct tensors, parameters aside, that autograd has saved."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}
        self._held: list[torch.Tensor] = []  # so that no address is given twice

    def add(self, tensor: torch.Tensor, alone: bool) -> None:
        if is_parameter(tensor):
            return
        storage = tensor.untyped_storage()
        place, size = (tensor.data_ptr(), tensor.nbytes) if alone else (storage.data_ptr(), storage.nbytes())
        self.storages[place] = size
        self._held.append(tensor)

    @property
    def bytes(self) -> int:
        return sum(self.storages.values())


_counter: ContextVar[Kept | None] = ContextVar("counter", default=None)


@contextlib.contextmanager
def counting_kept() -> Iterator[Kept]:
    """Count what forward passes within keep for their backward passes."""
    kept = Kept()
    token = _counter.set(kept)
    try:
        with torch.autograd.graph.saved_tensors_hooks(count_kept, lambda tensor: tensor):
            yield kept
    finally:
        _counter.reset(token)


def count_kept(tensor: torch.Tensor, alone: bool = False) -> torch.Tensor:
    """`tensor`, which is kept: for hooks of their own, within which PyTorch calls no others.

    A view keeps all the memory that it is a part of, unless it is kept `alone`.
    """
    kept = _counter.get()
    if kept is not None:
        kept.add(tensor, alone)
    return tensor


def is_parameter(tensor: torch.Tensor) -> bool:
    """Whether `tensor` is a parameter or a view of one."""
    return isinstance(tensor, torch.nn.Parameter) or isinstance(tensor._base, torch.nn.Parameter)


def free_at_once() -> None:
    """While loading: memory goes back to the system as soon as it is freed, and leaves no gap."""
    _tune(M_MMAP_THRESHOLD, 2**18)


def settle(sparing: bool) -> None:
    """End of loading: give back to the system what was freed, and have the next tensors use freed memory again, which
    is faster; where memory is to be spared only the smaller ones."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    _tune(M_MMAP_THRESHOLD, 2**21 if sparing else 2**25)
    _tune(M_TRIM_THRESHOLD, 2**28)


def _tune(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(option, value)


def peak_bytes(device: torch.device) -> int:
    """The most memory used since `reset_peak`: PyTorch's on the GPU, or all of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # Linux; elsewhere the peak stays that since the process began
        Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int:
    """Bytes of an entry of /proc/self/status; where there is none, the largest memory that the system remembers."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        found = psutil.Process().memory_info()
        return int(getattr(found, "peak_wset", found.rss))
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024
