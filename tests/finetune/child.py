"""Work in a process of its own, without the seconds that importing everything takes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path


def start(work: Callable[[], object], words: Path | None = None) -> int:
    """Start `work` in a fork of this process; returns its number. What it prints goes to `words` alone."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code: object = 1
    try:
        place = os.open(words or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(place, 1)
        os.dup2(place, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        work()
        code = 0
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)
    return 0


def end_of(child: int, seconds: float) -> int | None:
    """How the process ended, as os.waitpid says, or None where it still runs after `seconds`."""
    until = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() >= until:
            return None
        time.sleep(0.002)
