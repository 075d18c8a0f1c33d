"""Signals as requests. Ctrl-C and SIGTERM: finish the step, save, stop; a second Ctrl-C stops at once. SIGUSR1: save
after this step and go on."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from finetune.progress import say

SAVE = getattr(signal, "SIGUSR1", None)  # Windows has none


@dataclass
class Requests:
    """What was asked for from outside: `asked_…` by a signal, at any moment, and what of it is taken up at this step.

    It is taken up at one place of a step, so that several processes do so at the same step.
    """

    asked_stop: bool = False
    asked_save: bool = False
    stop: bool = False
    save: bool = False

    def take(self) -> tuple[bool, bool]:
        """Whether to stop and to save has been asked; a save is asked for once."""
        asked = self.asked_stop, self.asked_save
        self.asked_save = self.asked_save and not asked[1]
        return asked


@contextlib.contextmanager
def save_requests() -> Iterator[Requests]:
    """Yields what is asked for; while it is open SIGUSR1 does not end the process."""
    requests = Requests()

    def ask(number: int, frame: FrameType | None) -> None:
        requests.asked_save = True

    with _handled((SAVE,) if SAVE else (), ask):
        yield requests


@contextlib.contextmanager
def stop_requests(requests: Requests) -> Iterator[None]:
    """While it is open Ctrl-C and SIGTERM are taken down in `requests`."""

    def ask(number: int, frame: FrameType | None) -> None:
        requests.asked_stop = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("Finishing this step and saving; once more Ctrl-C stops at once.")

    with _handled((signal.SIGINT, signal.SIGTERM), ask):
        yield


@contextlib.contextmanager
def _handled(
    numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """`handler` for these signals; outside the main thread, where Python handles none, they are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
