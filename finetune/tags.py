"""What a generated file says of its making: everything that makes it again, names and hashes, never a path."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from finetune.adapter.blend import AdapterUse
from finetune.adapter.formats.metadata import base_label
from finetune.adapter.low_rank import LowRankAdapter
from finetune.base_model import BaseModel
from finetune.errors import WoodshedError
from finetune.generate import Request
from finetune.given import Given

WORDS = {
    "woodshed": "version of Woodshed",
    "base_sha256": "base",
    "adapters": "adapters",
    "init_sha256": "sound of --init",
}

_Number = int | float
OF_REQUEST: dict[str, Any] = {
    "prompt": str,
    "negative_prompt": str | None,
    "seconds": _Number,
    "seconds_total": _Number | None,
    "headroom_seconds": _Number,
    "steps": int,
    "guidance": _Number,
    "sampler": str,
    "seed": int,
    "adapters": list,
}
OF_GIVEN = {"noise": _Number, "keep": list, "splice": bool}


def about_sound(
    base: BaseModel, uses: Sequence[AdapterUse], request: Request, given: Given | None, splice: bool
) -> dict[str, Any]:
    """As plain values: the request, hashes and names of base and adapters, and of the sound that was given."""
    about = {"woodshed": version("woodshed"), **asdict(request)}
    about |= {"base": base_label(base.name), "base_sha256": base.fingerprint}
    about["adapters"] = [
        {
            "name": use.name,
            "sha256": adapter_hash(use.adapter),
            "strength": use.strength,
            "noise": list(use.noise),
            "layers": use.layers,
        }
        for use in uses
    ]
    if given is not None:
        about |= {
            "init_sha256": hashlib.sha256(given.audio.tobytes()).hexdigest(),
            "noise": given.noise,
            "keep": list(given.ranges),
            "splice": splice,
        }
    return about


def said_in(about: dict[str, Any]) -> dict[str, Any]:
    """The fields of `Wanted` that make a sound like the one described; base, adapters and files are named anew.

    Raises WoodshedError where `about` lacks something or holds it in another form.
    """
    wanted = OF_REQUEST | (OF_GIVEN if "init_sha256" in about else {})
    changed = [key for key, kind in wanted.items() if not isinstance(about.get(key), kind)]
    if not changed and not all(map(_is_use, about["adapters"])):
        changed = ["adapters"]
    if changed:
        raise WoodshedError(
            f"The tags of the file of --like were changed: '{changed[0]}' is not what it was."
        )
    names = {"seconds_total": "piece", "headroom_seconds": "headroom", "seed": "seeds", "adapters": None}
    said = {names.get(key, key): about[key] for key in wanted}
    said["seeds"] = (said["seeds"],)
    if "keep" in said:
        said["keep"] = tuple(map(str, said["keep"]))
    return {field: value for field, value in said.items() if field is not None}


def _is_use(said: Any) -> bool:
    kinds: dict[str, Any] = {"sha256": str, "strength": _Number, "noise": list, "layers": str}
    return (
        isinstance(said, dict)
        and all(isinstance(said.get(key), kind) for key, kind in kinds.items())
        and [isinstance(bound, _Number) for bound in said["noise"]] == [True, True]
    )


def adapter_hash(adapter: LowRankAdapter) -> str:
    """SHA-256 of what an adapter does: the same for the same weights in the file of any program, up to rounding."""
    digest = hashlib.sha256()
    for module, part in sorted(adapter.modules.items()):
        digest.update(f"{module} {part.scale!r}".encode())
        for tensor in (part.down, part.up, part.row_magnitude, part.column_magnitude):
            numbers = np.zeros(0) if tensor is None else tensor.detach().to("cpu", torch.float32).numpy()
            digest.update(np.ascontiguousarray(numbers).tobytes())
    return digest.hexdigest()


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What of base, adapters, given sound and version is not as it was, in words; names and order do not matter."""
    before, now = before | {"adapters": _acts(before)}, now | {"adapters": _acts(now)}
    return [words for key, words in WORDS.items() if before.get(key) != now.get(key)]


def _acts(about: dict[str, Any]) -> list[str]:
    return sorted(
        str([each[key] for key in ("sha256", "strength", "noise", "layers")]) for each in about["adapters"]
    )
