"""The Merkle tree of RFC 6962: one hash for a list, and a short proof that something is in it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

LEAF, NODE = b"\x00", b"\x01"  # so that no leaf can pass for a node


def leaf_hash(content: bytes) -> bytes:
    return hashlib.sha256(LEAF + content).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over the hashes of leaves; of none it is the hash of nothing."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    half = _split(len(leaves))
    return _node(root(leaves[:half]), root(leaves[half:]))


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes beside the way from leaf `index` up to the root, the lowest first."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"there is no leaf {index} among {len(leaves)}")
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if index < half:
        return [*inclusion_path(leaves[:half], index), root(leaves[half:])]
    return [*inclusion_path(leaves[half:], index - half), root(leaves[:half])]


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to from the hash of a leaf (RFC 9162, 2.1.3.2); None for a path of another length."""
    if not 0 <= index < size:
        return None
    found, at, last = leaf, index, size - 1
    for beside in path:
        if last == 0:
            return None
        if at % 2 or at == last:
            found = _node(beside, found)
            while at % 2 == 0 and at:
                at, last = at // 2, last // 2
        else:
            found = _node(found, beside)
        at, last = at // 2, last // 2
    return found if last == 0 else None


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(NODE + left + right).digest()
