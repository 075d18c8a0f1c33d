"""One at a time: preparing a dataset and reviewing it both write its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_prep.dataset_folder import HIDDEN
from data_prep.files import PrepError


@contextmanager
def dataset_lock(dataset: Path) -> Iterator[None]:
    """Held until the end of the block, or of the process however it ends; PrepError where another holds it."""
    from filelock import FileLock, Timeout

    hidden = dataset / HIDDEN
    hidden.mkdir(exist_ok=True)
    try:
        with FileLock(hidden / "lock", timeout=0):
            yield
    except Timeout as error:
        raise PrepError(
            f"{dataset} is in use by another `woodshed prep` or `woodshed review`; end that one first (Ctrl-C)."
        ) from error
