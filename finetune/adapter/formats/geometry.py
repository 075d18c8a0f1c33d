"""Which Stable Audio 3 an adapter can be for, by the shapes of what it changes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from finetune.adapter.low_rank import LowRank

_BLOCK = re.compile(r"transformer\.transformer_blocks\.(\d+)\.(.+)")
_INPUTS_OF_WIDTH = {
    "self_attn.to_qkv",
    "self_attn.to_out",
    "cross_attn.to_q",
    "cross_attn.to_out",
    "ff.proj_in",
}
_OUTPUTS_OF_WIDTH = {"ff.proj_out", "to_local_embed.2"}
_KNOWN = {
    (1024, 20, False): ("stable-audio-3-small", "Stable Audio 3 small-music or small-sfx, -base or not"),
    (192, 6, False): ("stable-audio-3", "the embedded starter"),
    (1536, 24, True): ("stable-audio-3-medium", "Stable Audio 3 medium, -base or not"),
}


@dataclass(frozen=True)
class Geometry:
    """What the adapted modules tell of the transformer; None where they do not tell. `blocks` is the last one's
    number plus one."""

    width: int | None
    blocks: int | None
    differential: bool | None

    @property
    def architecture(self) -> str:
        """ModelSpec's name of the model's kind."""
        return self._known[0]

    @property
    def fits(self) -> str:
        """The bases of this geometry, in words."""
        return self._known[1]

    @property
    def _known(self) -> tuple[str, str]:
        for (width, blocks, differential), names in _KNOWN.items():
            if (
                self.width == width
                and (self.blocks or 0) <= blocks
                and self.differential in (None, differential)
            ):
                return names
        return "stable-audio-3", "no published base of Stable Audio 3"


def geometry_of(modules: Mapping[str, LowRank]) -> Geometry:
    """Width, blocks and kind of self-attention as far as `modules` tell."""
    width = differential = None
    blocks = []
    for module, part in modules.items():
        if not (found := _BLOCK.fullmatch(module)):
            continue
        blocks.append(int(found[1]))
        if found[2] in _INPUTS_OF_WIDTH:
            width = part.down.shape[1]
        elif found[2] in _OUTPUTS_OF_WIDTH:
            width = len(part.up)
        if found[2] == "self_attn.to_qkv":
            differential = is_differential(part)
    return Geometry(width, max(blocks) + 1 if blocks else None, differential)


def is_differential(part: LowRank) -> bool:
    """Whether a fused self-attention has five projections (two queries and keys) instead of three."""
    return len(part.up) == 5 * part.down.shape[1]
