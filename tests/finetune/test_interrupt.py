"""Ctrl-C and SIGTERM are requests; a second Ctrl-C is not."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from finetune.interrupt import Requests, save_requests, stop_requests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_a_request(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    requests = Requests()
    with stop_requests(requests):
        assert not requests.asked_stop
        os.kill(os.getpid(), number)
        assert requests.take() == requests.take() == (True, False)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(number) is before
    assert "Finishing this step" in capsys.readouterr().err


def test_another_thread_leaves_signals_alone() -> None:
    requests = []
    before = signal.getsignal(signal.SIGINT)

    def work() -> None:
        with save_requests() as asked, stop_requests(asked):
            assert signal.getsignal(signal.SIGINT) is before
            requests.append(asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert requests == [Requests()]


def test_sigusr1_asks_for_a_checkpoint() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with save_requests() as requests:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert requests == Requests(asked_save=True)
        assert requests.take() == (False, True) and requests.take() == (False, False)
    assert signal.getsignal(signal.SIGUSR1) is before
