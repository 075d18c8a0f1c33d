"""What every format shares: tensors sorted by module, checked, and made into low-rank parts; and back to 16 bits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch

from finetune.adapter.formats.tensors import Stored
from finetune.adapter.low_rank import LowRank
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError


class NeedsBase(WoodshedError):
    """What is asked for takes the weights of the base."""


@dataclass(frozen=True)
class Encoded:
    """An adapter as one program's tensors and header. `notes` say what was rewritten to fit that program."""

    tensors: dict[str, torch.Tensor]
    header: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def by_module(stored: Stored, key: re.Pattern[str]) -> dict[str, dict[str, torch.Tensor]]:
    """Tensors by module and role: `key` matches every tensor's name with the groups `module` and `role`.

    Raises WoodshedError with counts when some names do not match.
    """
    sorted_out: dict[str, dict[str, torch.Tensor]] = {}
    strange = []
    for name, tensor in stored.tensors.items():
        if found := key.fullmatch(name):
            sorted_out.setdefault(found["module"], {})[found["role"]] = tensor
        else:
            strange.append(name)
    if strange:
        raise WoodshedError(
            f"'{stored.path}' holds {len(strange)} of {len(stored.tensors)} tensors that Woodshed does not know in an "
            f"adapter, for instance '{min(strange)}'. Nothing of it is used, since what they do would be lost."
        )
    return sorted_out


def low_rank(
    where: str,
    down: torch.Tensor | None,
    up: torch.Tensor | None,
    scale: float,
    row_magnitude: torch.Tensor | None = None,
    column_magnitude: torch.Tensor | None = None,
) -> LowRank:
    """The parts in float32, with shapes that belong together; 1×1 convolutions lose their last dimension."""
    if down is None or up is None:
        raise WoodshedError(f"{where}: one of the adapter's two matrices (A, B) is missing.")
    down, up = _matrix(where, down), _matrix(where, up)
    lengths = {"rows": (row_magnitude, len(up)), "columns": (column_magnitude, down.shape[1])}
    for name, (magnitude, length) in lengths.items():
        if magnitude is not None and magnitude.numel() != length:
            raise WoodshedError(
                f"{where}: {magnitude.numel()} magnitudes for {length} {name} do not fit together."
            )
    if down.shape[0] != up.shape[1] or not len(down):
        raise WoodshedError(f"{where}: A {tuple(down.shape)} and B {tuple(up.shape)} have no rank in common.")
    vectors = [None if m is None else m.flatten().float() for m in (row_magnitude, column_magnitude)]
    return LowRank(down, up, float(scale), *vectors)


def weight_of(base: BaseModel | None, module: str, why: str) -> torch.Tensor:
    """The base's own weight of `module`, in the row order of diffusers. NeedsBase, with `why`, without a base."""
    if base is None:
        raise NeedsBase(f"{why}. Name the base that it belongs to with --base.")
    try:
        weight = base.trainable_parts.get_submodule(module).weight
    except AttributeError:
        raise WoodshedError(
            f"The adapter is for another base than '{base.name}', which has no {module}."
        ) from None
    assert isinstance(weight, torch.Tensor)
    return weight.detach().flatten(1)


def one_kind(parts: Iterable[LowRank], program: str) -> str:
    """The kind that all parts have. Raises WoodshedError when they differ, which `program` cannot hold."""
    kinds = sorted({part.kind for part in parts})
    if len(kinds) > 1:
        raise WoodshedError(
            f"{program} holds one kind for all modules, and this adapter has {' and '.join(kinds)}. "
            "Export it merged into the base instead: --to merged."
        )
    return kinds[0]


def rounded(part: LowRank, dtype: torch.dtype) -> LowRank:
    """The two matrices in `dtype`; magnitudes stay in float32, since what was learned in them is a small difference.

    For float16 a power of two moves from the larger matrix to the smaller, which is exact and keeps both in range.
    """
    down, up = part.down, part.up
    if dtype == torch.float16 and bool(down.any()) and bool(up.any()):
        shift = torch.round(torch.log2(down.abs().max() / up.abs().max()) / 2)
        down, up = down * 2.0**-shift, up * 2.0**shift
    return replace(part, down=down.to(dtype), up=up.to(dtype))


def _matrix(where: str, tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dim() < 2 or any(size != 1 for size in tensor.shape[2:]):
        raise WoodshedError(f"{where}: a tensor of shape {tuple(tensor.shape)} is no matrix of an adapter.")
    return tensor.flatten(1).float()
