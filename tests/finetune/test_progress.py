"""Plain lines where stderr is not a terminal."""

from __future__ import annotations

import pytest

from finetune import progress
from finetune.progress import clock, progress_bar


def test_a_few_lines_and_the_end(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress_bar("Training", 100, 20) as report:
        for step in range(21, 101):
            now += 1.0
            report(step, "loss 0.5")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "Training 35/100  loss 0.5  1:05 left",
        "Training 50/100  loss 0.5  50 s left",
        "Training 65/100  loss 0.5  35 s left",
        "Training 80/100  loss 0.5  20 s left",
        "Training 95/100  loss 0.5  5 s left",
        "Training 100/100  loss 0.5",
    ]


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0.4, 59, 60, 185, 3723)] == [
        "0 s",
        "59 s",
        "1:00",
        "3:05",
        "1:02:03",
    ]
