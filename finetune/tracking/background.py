"""Work that training never waits for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class Background:
    """Does what it is given, one thing after the other, in a thread of its own.

    `failed` is told, in that thread, of whatever a thing raises; the next is done all the same.
    """

    def __init__(self, name: str, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def later(self, do: Callable[[], None]) -> None:
        self._waiting.put(do)

    def finished(self, seconds: float) -> bool:
        """Wait until everything is done, at most so long; whether it is. Nothing can be given after this."""
        self._waiting.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (do := self._waiting.get()) is not None:
            try:
                do()
            except Exception as error:
                self._failed(error)
