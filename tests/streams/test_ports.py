"""What is said when a host has no LSL port left."""

import socket

import pytest

from emag_rt.cli import doctor_checks
from emag_rt.errors import StreamError
from emag_rt.streams.lsl import LslSink, OutletSpec
from emag_rt.streams.lsl import library as library_module
from emag_rt.streams.lsl import ports as ports_module


@pytest.fixture(params=[socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
def taken(request):
    """A range of two ports, of which one is taken, then both."""
    for _ in range(20):
        first = socket.socket(socket.AF_INET, request.param)
        first.bind(("", 0))
        port = first.getsockname()[1]
        second = socket.socket(socket.AF_INET, request.param)
        try:
            second.bind(("", port + 1))
        except OSError:
            first.close()
            continue
        yield range(port, port + 2), second
        first.close()
        second.close()
        return
    pytest.fail("no two free ports beside each other")


def test_ports_are_used_up_when_none_is_left(taken):
    ports, second = taken
    assert f"{ports[0]}-{ports[1]}) are taken" in ports_module.used_up(ports)
    second.close()
    assert ports_module.used_up(ports) == ""


def test_doctor_and_outlets_say_so(monkeypatch, caplog, unique_id):
    words = "all LSL ports of this host are taken"
    monkeypatch.setattr(ports_module, "used_up", lambda: words)
    monkeypatch.setattr(library_module, "used_up", lambda: words)
    monkeypatch.setattr(doctor_checks, "check_lsl", lambda: {"ok": True})
    assert "All LSL ports of this host are taken" in doctor_checks.run_checks()["advice"]
    LslSink(OutletSpec("a", unique_id, ("b",), 10.0)).close()
    assert words in caplog.text

    def fails(*_, **__):
        raise RuntimeError("could not create stream outlet.")

    monkeypatch.setattr(library_module.pylsl, "StreamOutlet", fails)
    with pytest.raises(StreamError, match=f"{words}.*could not create"):
        LslSink(OutletSpec("a", unique_id, ("b",), 10.0))
