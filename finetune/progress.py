"""Words and progress bars for the musician, on stderr; plain lines where it is not a terminal."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from finetune.rank import is_main

SECONDS_BETWEEN_LINES = 15.0

console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True, quiet=not is_main())

Report = Callable[[int, str], None]  # how many are done, and what to say beside it


def say(sentence: str) -> None:
    console.print(sentence)


@contextlib.contextmanager
def progress_bar(title: str, total: int, done: int = 0) -> Iterator[Report]:
    """Yields `report(done, words)`: a bar with the time left, or a line every 15 seconds and one at the end."""
    if not console.is_terminal:
        yield _lines(title, total, done)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[words]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(title, total=total, completed=done, words="")
        yield lambda done, words: bar.update(task, completed=done, words=words)


def _lines(title: str, total: int, began_with: int) -> Report:
    began = last = time.monotonic()

    def report(done: int, words: str) -> None:
        nonlocal last
        now = time.monotonic()
        if done < total and now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        each = (now - began) / max(done - began_with, 1)
        left = f"  {clock(each * (total - done))} left" if done < total else ""
        say(f"{title} {done}/{total}  {words}{left}".rstrip())

    return report


def clock(seconds: float) -> str:
    """Seconds as 12 s, 3:05 or 1:02:03."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"
