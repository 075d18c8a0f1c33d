"""Which modules of a base an adapter acts on: block numbers and kinds of module, as a musician writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from finetune.errors import WoodshedError

_BLOCK = re.compile(r"transformer\.transformer_blocks\.(\d+)\.")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
KINDS = {
    "attention": ("self_attn.", "cross_attn."),
    "self-attention": ("self_attn.",),
    "cross-attention": ("cross_attn.",),
    "ff": (".ff.",),
}
OTHER = "other"  # what is none of these: embeddings of time, words, duration and kept sound


def select_modules(layers: str, modules: Iterable[str]) -> set[str]:
    """The modules that `layers` means: all for '', else a list such as '0-9,12,attention'.

    Block numbers keep what lies in one of those blocks, kinds (`KINDS` and 'other') what is of one of those kinds;
    with both, a module must be in one of the blocks and of one of the kinds. Raises WoodshedError for another word.
    """
    blocks: set[int] = set()
    kinds: set[str] = set()
    for word in filter(None, (part.strip().lower() for part in layers.split(","))):
        if found := _RANGE.fullmatch(word):
            first, last = int(found[1]), int(found[2] or found[1])
            if last < first or last > 999:
                raise WoodshedError(
                    f"'{word}' is no range of blocks: write the lower number first, such as 0-9."
                )
            blocks |= set(range(first, last + 1))
        elif word in (*KINDS, OTHER):
            kinds.add(word)
        else:
            raise WoodshedError(
                f"'{word}' names no layers of an adapter: give block numbers such as 0-9 or 12, and "
                f"{', '.join(KINDS)} or {OTHER}, joined by commas."
            )
    return {
        name
        for name in modules
        if (not blocks or _block(name) in blocks) and (not kinds or any(_is(name, kind) for kind in kinds))
    }


def _block(module: str) -> int | None:
    found = _BLOCK.match(module)
    return int(found[1]) if found else None


def _is(module: str, kind: str) -> bool:
    if kind == OTHER:
        return not any(part in module for parts in KINDS.values() for part in parts)
    return any(part in module for part in KINDS[kind])
