"""The memory of a process while it works, as Linux counts it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

LOOK_EVERY = 0.01  # seconds


class Peak:
    """Within it: seconds, and the largest memory of a process in bytes: `own` (its alone), `all` (mapped files too)."""

    def __init__(self, process: str = "self") -> None:
        self.process = process

    def __enter__(self) -> Peak:
        self.own = self.all = 0
        self.over = threading.Event()
        self.began = time.monotonic()
        self.thread = threading.Thread(target=self._look, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self.began
        self.over.set()
        self.thread.join()

    def _look(self) -> None:
        while True:
            try:
                self.own = max(self.own, resident("RssAnon", self.process))
                self.all = max(self.all, resident("VmRSS", self.process))
            except (OSError, StopIteration):
                return
            if self.over.wait(LOOK_EVERY):
                return


def resident(kind: str, process: str = "self") -> int:
    """Bytes of memory in RAM of one kind, as Linux counts it: RssAnon, VmRSS, or VmHWM, the most there ever was."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) * 1024
