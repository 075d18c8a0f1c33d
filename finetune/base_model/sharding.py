"""The frozen blocks of a transformer, cut over several processes: each keeps its part of every block, and has a block
whole only while that works.

As ZeRO-3 (Rajbhandari et al. 2020) and FSDP (Zhao et al. 2023), but for weights that never change: nothing is reduced
or written back. A block is gathered before its forward pass and again before its backward pass, into one of two places
that the blocks take in turn; meanwhile the next one is gathered into the other. The weights of a block are views of its
place for good, so that no other code knows of this, and what is computed is the same to the last bit. Matrices are cut,
packed ones as they are packed; vectors, a thousandth of a block, are whole everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

ALIGNED = 512  # bytes, as PyTorch aligns tensors on a GPU: other kernels may be chosen for less
PLACES = 2  # one block works, the next one comes
DONE = -1
# Its name since PyTorch 2.13, and the one before.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor


class Shards:
    """The parts of the blocks that this process keeps, and the places where two of them are whole.

    All processes must do the same passes in the same order, but for those of the first one alone, which are `leading`
    while the others `follow`.
    """

    @torch.no_grad()
    def __init__(self, transformer: Any, device: torch.device) -> None:
        """Cut the blocks of `transformer` one by one, wherever they lie: `device` never holds all of them.

        To be called when adapters are in place; what is frozen must not be changed or moved any more.
        """
        blocks = [_matrices(block) for block in transformer.transformer_blocks]
        sizes = [sum(_room(matrix) for matrix in matrices) for matrices in blocks]
        share = _aligned(-(-max(sizes) // dist.get_world_size()))
        whole = share * dist.get_world_size()
        self._places = [torch.empty(whole, dtype=torch.uint8, device=device) for _ in range(PLACES)]
        self._parts = [self._cut(number, matrices) for number, matrices in enumerate(blocks)]
        self._held: list[int | None] = [None] * PLACES
        self._coming: list[dist.Work | None] = [None] * PLACES
        self._is_leading = False
        for number, block in enumerate(transformer.transformer_blocks):
            block.register_forward_pre_hook(partial(self._before_forward, number))
            block.register_forward_hook(partial(self._after_forward, number))

    def _cut(self, number: int, matrices: list[torch.Tensor]) -> torch.Tensor:
        """Move `matrices` to the place of block `number`; returns this process's part of it."""
        place, start = self._places[number % PLACES], 0
        for matrix in matrices:
            view = place[start : start + matrix.nbytes].view(matrix.dtype).view(matrix.shape)
            matrix.data = view.copy_(matrix)
            start += _room(matrix)
        return place.chunk(dist.get_world_size())[dist.get_rank()].clone()

    @property
    def bytes(self) -> int:
        """What this process holds of all blocks, places included."""
        return sum(tensor.nbytes for tensor in (*self._parts, *self._places))

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Passes within are of the first process alone, this one."""
        self._is_leading = True
        yield
        self._tell(DONE)
        self._is_leading = False

    def follow(self) -> None:
        """Give the parts of this process to the first one for as long as that is `leading`."""
        while (number := int(self._tell(DONE))) != DONE:
            self._take(number, number + 1)

    def _tell(self, number: int) -> torch.Tensor:
        """The number that the first process gives."""
        told = torch.full((), number, device=self._places[0].device)
        dist.broadcast(told, src=0)
        return told

    def _before_forward(self, number: int, block: nn.Module, inputs: Any) -> None:
        if self._is_leading:
            self._tell(number)
        self._take(number, number + 1)

    def _after_forward(self, number: int, block: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        """The gradient of its output comes before all of the block's backward pass and after that of the next block,
        which may then go: autograd runs what was made last first."""
        if output.requires_grad:
            output.register_hook(lambda gradient: self._take(number, number - 1))

    def _take(self, number: int, then: int) -> None:
        """Have block `number` whole, and begin to gather block `then`, where there is one."""
        self._gather(number)
        self._await(number % PLACES)
        if 0 <= then < len(self._parts):
            self._gather(then)

    def _gather(self, number: int) -> None:
        place = number % PLACES
        if self._held[place] == number:
            return
        self._await(place)
        self._held[place] = number
        self._coming[place] = _all_gather(self._places[place], self._parts[number], async_op=True)

    def _await(self, place: int) -> None:
        coming, self._coming[place] = self._coming[place], None
        if coming is not None:
            coming.wait()


def _matrices(block: nn.Module) -> list[torch.Tensor]:
    """What is frozen in `block`, packed weights too, but for vectors."""
    frozen = (parameter for parameter in block.parameters() if not parameter.requires_grad)
    return [tensor for tensor in (*frozen, *block.buffers()) if tensor.ndim > 1]


def _room(tensor: torch.Tensor) -> int:
    return _aligned(tensor.nbytes)


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED
