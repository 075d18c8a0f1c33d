"""Tensors that wait for the backward pass: rounded to bfloat16, and packed close together."""

from __future__ import annotations

from dataclasses import dataclass
from mmap import ACCESS_COPY, mmap
from typing import Any

import torch

from finetune.memory import count_kept, is_parameter

BOARD = 16 * 2**20  # bytes of a shelf's board
ALIGNED = 64  # bytes


@dataclass(frozen=True)
class Rounded:
    """A tensor of float32: all that lay in its memory, in bfloat16, and which part of that it was."""

    values: torch.Tensor
    shape: torch.Size
    stride: tuple[int, ...]
    offset: int


class Shelf:
    """Memory for what is kept, piece after piece.

    Kept where they were made, tensors would leave gaps between them, into which the large ones that come and go do not
    fit: a step would take several hundred megabytes more.
    """

    def __init__(self) -> None:
        self._board = torch.empty(0, dtype=torch.uint8)
        self._used = 0

    def copy(self, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """`tensor` in `dtype`, its dimensions in the same order in memory."""
        order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
        laid = tensor.permute(order)
        piece = self._piece(laid.numel(), dtype).view(laid.shape).copy_(laid)
        return piece.permute([order.index(dimension) for dimension in range(tensor.ndim)])

    def _piece(self, elements: int, dtype: torch.dtype) -> torch.Tensor:
        """Behind those on the board, or on a new one: a board is gone with the last of its pieces."""
        size = elements * dtype.itemsize
        if self._used + size > len(self._board):
            memory = mmap(-1, max(BOARD, size), access=ACCESS_COPY)  # apart from that of all other tensors
            self._board, self._used = torch.frombuffer(memory, dtype=torch.uint8), 0
        piece = self._board[self._used : self._used + size].view(dtype)
        self._used += -(-size // ALIGNED) * ALIGNED
        return piece


class Rounding:
    """Rounds what one forward pass keeps, each piece of memory once however often it is kept.

    Parameters stay what they are. Tensors of fewer than `least` elements are not rounded: sums of softmax and lengths,
    where that would weigh more than the memory.
    """

    def __init__(self, shelf: Shelf, least: int) -> None:
        self.shelf, self.least = shelf, least
        self._done: dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]] = {}

    @torch.no_grad()
    def pack(self, tensor: torch.Tensor) -> Any:
        if is_parameter(tensor):
            return count_kept(tensor)
        plain = tensor.detach()
        if plain.dtype != torch.float32 or plain.numel() < self.least:
            return count_kept(self.shelf.copy(plain, plain.dtype), alone=True)
        storage = plain.untyped_storage()
        key = storage.data_ptr(), plain._version
        if key not in self._done:  # which holds the tensor too, so that no address is given twice
            whole = plain.as_strided((storage.nbytes() // plain.element_size(),), (1,), 0)
            self._done[key] = plain, self.shelf.copy(whole, torch.bfloat16)
        values = count_kept(self._done[key][1], alone=True)
        return Rounded(values, plain.shape, plain.stride(), int(plain.storage_offset()))

    def forget(self) -> None:
        """Let go of the tensors as they were."""
        self._done.clear()


def restored(kept: Any) -> torch.Tensor:
    """The tensor that `Rounding.pack` was given, rounded where it was."""
    if isinstance(kept, torch.Tensor):
        return kept
    start = kept.values.storage_offset() + kept.offset
    return kept.values.as_strided(kept.shape, kept.stride, start).float()
