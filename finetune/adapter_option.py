"""An adapter as it is named on the command line: PATH:STRENGTH@FROM-TO#LAYERS, all but the path optional."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from finetune.adapter.layers import select_modules
from finetune.errors import WoodshedError
from finetune.files import from_home

LARGEST_STRENGTH = 10.0
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)"
_PART = r"\d+\.?\d*|\.\d+"
_OPTION = re.compile(
    rf"(?P<path>.+?)(?::(?P<strength>{_NUMBER}))?(?:@(?P<low>{_PART})-(?P<high>{_PART}))?(?:#(?P<layers>[\w\s,-]+))?",
    re.DOTALL,
)


@dataclass(frozen=True)
class AdapterOption:
    """`strength` None is unsaid; `noise` is the part of the way from noise (1) to sound (0) in which it acts."""

    path: Path
    strength: float | None = None
    noise: tuple[float, float] = (0.0, 1.0)
    layers: str = ""


def read_option(text: str) -> AdapterOption:
    """What `text` names. A path that exists is itself, whatever signs it holds; `C:\\kit:0.5` is a path and 0.5.

    Raises WoodshedError for a strength, an interval or layers that cannot be.
    """
    found = _OPTION.fullmatch(text)
    if found is None or from_home(text).exists():
        return AdapterOption(from_home(text))
    strength = None if found["strength"] is None else check_strength(float(found["strength"]))
    low, high = float(found["low"] or 0), float(found["high"] or 1)
    if not 0 <= low < high <= 1:
        raise WoodshedError(
            f"'{text}': an adapter acts from less noise to more, between 0 (sound) and 1 (noise), such as @0-0.6."
        )
    layers = (found["layers"] or "").strip()
    select_modules(layers, ())
    return AdapterOption(from_home(found["path"]), strength, (low, high), layers)


def adapter_name(path: Path) -> str:
    """What to call the adapter in `path`: of a run's folders the name of the run, with `-best` for its best one."""
    whole = path.resolve()
    names = {"adapter": whole.parent.name, "best": f"{whole.parent.name}-best"}
    return names.get(whole.name, path.name or whole.name)


def check_strength(strength: float) -> float:
    if not math.isfinite(strength) or abs(strength) > LARGEST_STRENGTH:
        raise WoodshedError(
            f"A strength of {strength:g} is out of range: 0 is the base, 1 the adapter as trained, "
            f"{LARGEST_STRENGTH:g} the most."
        )
    return strength
