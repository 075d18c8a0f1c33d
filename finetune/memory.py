"""How much memory there is, how much is used, and how much a forward pass keeps for the backward pass."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import psutil
import torch


def available(device: torch.device) -> int:
    """Bytes that this process may still take: of the GPU, or of main memory."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)


class Kept:
    """Bytes of distinct tensors, parameters aside, that autograd has saved."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}
        self._held: list[torch.Tensor] = []  # so that no address is given twice

    def add(self, tensor: torch.Tensor) -> None:
        if isinstance(tensor, torch.nn.Parameter) or _is_parameter_view(tensor):
            return
        storage = tensor.untyped_storage()
        self.storages[storage.data_ptr()] = storage.nbytes()
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
        with torch.autograd.graph.saved_tensors_hooks(_counted, lambda tensor: tensor):
            yield kept
    finally:
        _counter.reset(token)


def count_kept(tensor: torch.Tensor) -> None:
    """For hooks of their own, within which PyTorch calls no others: `tensor` is kept."""
    kept = _counter.get()
    if kept is not None:
        kept.add(tensor)


def _counted(tensor: torch.Tensor) -> torch.Tensor:
    count_kept(tensor)
    return tensor


def _is_parameter_view(tensor: torch.Tensor) -> bool:
    return isinstance(tensor._base, torch.nn.Parameter)


def give_back() -> None:
    """Return to the system what was freed: glibc keeps gigabytes of it, which loading and PEFT leave behind."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


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
