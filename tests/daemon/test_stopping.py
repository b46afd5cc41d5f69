"""Signals as requests, and as orders; in processes of their own."""

from __future__ import annotations

import signal
import threading

import pytest

from emag_rt.daemon.stopping import stop_signals

STUCK = """
import ctypes
from emag_rt.daemon.stopping import stop_signals
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(64)
with stop_signals():
    libc.pthread_mutex_lock(mutex)
    print("stuck", flush=True)
    libc.pthread_mutex_lock(mutex)  # for ever, in C, where Python runs no handlers
"""


def test_a_second_sigint_ends_a_process_that_is_stuck_in_c(spawn, wait_until):
    child = spawn("-c", STUCK)
    child.wait_for("stuck")

    def over():  # two signals at once may arrive as one
        child.process.send_signal(signal.SIGINT)
        return child.process.poll() is not None

    wait_until(over, 20, "the end")
    assert child.finish(20) == 130
    assert child.output == "stuck\ninterrupted"


def test_signals_are_given_back(tmp_path):
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with stop_signals() as stop:
        assert not stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        signal.raise_signal(signal.SIGTERM)  # no order
    assert {n: signal.getsignal(n) for n in before} == before
    assert "signals" not in {thread.name for thread in threading.enumerate()}


def test_other_threads_leave_signals_to_their_host():
    found = []

    def embedded():
        with stop_signals() as stop:
            found.append((signal.getsignal(signal.SIGTERM), stop.is_set()))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=embedded)
    thread.start()
    thread.join()
    assert found == [(before, False)]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_the_starter_ignores_stays_ignored(spawn, number):
    """``nohup`` ignores SIGHUP; the background of a script SIGINT, meant for what is in front."""
    code = (
        "import signal\nfrom emag_rt.daemon.stopping import stop_signals\n"
        f"signal.signal({number:d}, signal.SIG_IGN)\n"
        f"with stop_signals() as stop:\n    signal.raise_signal({number:d})\n"
        "    print(stop.is_set())\n    signal.raise_signal(signal.SIGTERM)\n"
        "    print(stop.is_set())\n"
    )
    child = spawn("-c", code)
    assert child.finish(20) == 0
    assert child.output == "False\nTrue"
