"""What systemd would hear, on a socket like its own."""

from __future__ import annotations

import socket

import pytest

from emag_rt.daemon.status.counters import Counters, ServerStatus
from emag_rt.daemon.status.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path, monkeypatch):
    name = str(tmp_path / "notify")
    address = name if request.param == "path" else f"@emag-rt-{name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0"))
        receiver.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        yield receiver


def test_the_life_of_a_daemon(manager):
    notifier = Notifier.from_environment(1.0)
    status = ServerStatus("running", "packed", (), Counters(samples_in=7), 1.0, 0.1, None)
    notifier.waiting()
    notifier.ready()
    notifier(status)
    notifier.finish(status)
    notifier.close()
    again = Notifier.from_environment(1.0)
    again.close()  # ended before it served
    heard = [manager.recv(1000).decode().split("\n") for _ in range(5)]
    assert [lines[0] for lines in heard] == [
        "STATUS=waiting for the source",
        "READY=1",
        "WATCHDOG=1",
        "STOPPING=1",
        "STOPPING=1",
    ]
    assert "STATUS=running: in 7, out 0, gaps 0, skipped 0" in heard[2]


def test_without_systemd_there_is_nobody_to_tell(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert Notifier.from_environment(1.0) is None
    monkeypatch.setenv("NOTIFY_SOCKET", "vsock:2:1234")
    assert Notifier.from_environment(1.0) is None


def test_a_manager_that_went_away_is_said_once(manager, caplog):
    notifier = Notifier.from_environment(1.0)
    manager.close()
    notifier.ready()
    notifier.ready()
    notifier.close()
    assert caplog.text.count("going on without") == 1


def test_reports_too_rare_for_the_watchdog_are_said(manager, monkeypatch, caplog):
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    Notifier.from_environment(15.0).close()
    assert not caplog.text
    Notifier.from_environment(20.0).close()
    assert "at most half of systemd's WatchdogSec (30 s), got 20 s" in caplog.text
