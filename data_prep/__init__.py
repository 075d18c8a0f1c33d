"""From a folder of recordings to a dataset of slices.

import data_prep
report = data_prep.prepare("takes", "dataset", data_prep.Rights("own_recording", "Ada"))
dataset = data_prep.load("dataset")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_prep.loading import load as load
    from data_prep.ownership.rights import Basis as Basis
    from data_prep.ownership.rights import Rights as Rights
    from data_prep.preparation import prepare as prepare
    from data_prep.settings import Settings as Settings
    from data_prep.slicing.clip import rebuild as rebuild

_HOMES = {
    "load": "loading",
    "prepare": "preparation",
    "rebuild": "slicing.clip",
    "Basis": "ownership.rights",
    "Rights": "ownership.rights",
    "Settings": "settings",
}
__all__ = ["Basis", "Rights", "Settings", "load", "prepare", "rebuild"]


def __getattr__(name: str) -> Any:
    """Imported on first use, so that `import data_prep.dataset` stays light."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'data_prep' has no attribute {name!r}")
    return getattr(import_module(f"data_prep.{_HOMES[name]}"), name)
