"""Ctrl-C and SIGTERM are requests; a second Ctrl-C is not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from finetune.interrupt import stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_request(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    with stop_requests() as stopping:
        assert not stopping()
        os.kill(os.getpid(), number)
        assert stopping()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) is before
    assert "Finishing this step" in capsys.readouterr().err


def test_another_thread_leaves_signals_alone() -> None:
    answers = []

    def work() -> None:
        with stop_requests() as stopping:
            answers.append(stopping())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [False]
