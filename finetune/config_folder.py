"""The user's own folder of Woodshed: the signing key, and the licences that were accepted."""

from __future__ import annotations

import os
from pathlib import Path


def config_folder() -> Path:
    """`WOODSHED_CONFIG`, else `woodshed` in `XDG_CONFIG_HOME` or ~/.config."""
    if named := os.environ.get("WOODSHED_CONFIG"):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "woodshed"
