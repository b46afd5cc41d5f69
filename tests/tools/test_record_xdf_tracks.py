"""A recorder's threads: whatever goes wrong in one is heard, and none is left behind."""

import sys
import threading
from pathlib import Path

import pytest

from emag_rt.errors import OutputError

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import record_xdf


class Inlet:
    def take_all(self):
        raise UnicodeDecodeError("utf-8", b"\xe4", 0, 1, "a bug of tomorrow")


def track():
    made = record_xdf.Track.__new__(record_xdf.Track)
    made.what, made.count, made.error = "stream 'x'", 0, None
    made._inlet, made._writer, made._number = Inlet(), None, 1
    return made


def test_any_error_of_a_track_stops_the_recording():
    stop, failing = threading.Event(), track()
    failing.run(stop)
    assert stop.is_set()
    assert isinstance(failing.error, UnicodeDecodeError)


def test_threads_end_when_the_writer_fails(monkeypatch):
    class Waiting:
        ended = False

        def run(self, stop):
            stop.wait()
            self.ended = True

    class Full:
        def boundary(self):
            raise OutputError("full")

    monkeypatch.setattr(record_xdf, "BOUNDARY_S", -1.0)
    waiting = Waiting()
    with pytest.raises(OutputError):
        record_xdf.record([waiting], Full(), threading.Event(), 30.0)
    assert waiting.ended
