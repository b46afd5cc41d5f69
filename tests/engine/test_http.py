"""Pages over real sockets: read only, and deaf to clients that dawdle."""

from __future__ import annotations

import http.client
import socket
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emag_rt.daemon.loop import Server
from emag_rt.daemon.status import http as pages_module
from emag_rt.daemon.status.counters import Counters, ServerStatus
from emag_rt.daemon.status.http import TEXT, PageServer
from emag_rt.daemon.status.prometheus import STATES, Vitals
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import OutputError
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import (
    ManualClock,
    MemorySink,
    MemorySource,
    Silence,
    scripted_chunks,
)
from tests.factories import LD, ld_signal, make_bundle


def port_of(server):
    return int(server.url.rsplit(":", 1)[1])


def ask(port, path="/a", method="GET", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


@pytest.fixture(scope="module")
def served():
    pages = {"/a": lambda: (200, TEXT, b"here\n"), "/broken": lambda: 1 / 0}
    with PageServer("127.0.0.1", 0, pages) as server:
        yield server


def test_known_paths_can_be_read(served):
    port = port_of(served)
    answer, text = ask(port)
    assert (answer.status, text) == (200, "here\n")
    assert "Python" not in answer.headers["Server"]
    assert ask(port, "/a?b=../../etc&name[]=x")[1] == "here\n"
    answer, text = ask(port, method="HEAD")
    assert (answer.status, text, answer.headers["Content-Length"]) == (200, "", "5")


@pytest.mark.parametrize("path", ["/", "/A", "/a/", "/a/..", "/%61", "/etc/passwd"])
def test_other_paths_are_not_there(served, path):
    answer, text = ask(port_of(served), path)
    assert answer.status == 404
    assert "root" not in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NEW"])
@pytest.mark.parametrize("path", ["/a", "/other"])
def test_nothing_can_be_written(served, method, path):
    answer, _ = ask(port_of(served), path, method, b"x" * 1000)
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.0\r\n\r\n", b"414"),
        (b"GET /a HTTP/1.0\r\n" + b"x: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET /a HTTP/1.0\r\nx: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
        (b"\x16\x03\x01 rubbish and more\r\n\r\n", b"400"),
    ],
)
def test_what_a_client_may_send_is_bounded(served, sent, status):
    with socket.create_connection(("127.0.0.1", port_of(served)), 20) as client:
        client.sendall(sent)
        assert status in client.recv(1000)


def test_a_page_that_fails_is_logged_and_the_rest_goes_on(served, caplog):
    with pytest.raises((http.client.HTTPException, OSError)):
        ask(port_of(served), "/broken")
    assert "ZeroDivisionError" in caplog.text
    assert ask(port_of(served))[0].status == 200


def test_clients_that_dawdle_block_nobody_and_do_not_pile_up(served, wait_until):
    before = threading.active_count()
    slow = []
    for _ in range(60):
        client = socket.create_connection(("127.0.0.1", port_of(served)), 20)
        client.sendall(b"GET /a HTTP/1.0\r\nx: ")
        slow.append(client)
    assert ask(port_of(served))[0].status == 200
    assert threading.active_count() <= before + pages_module._MAX_CONNECTIONS
    for client in slow:
        client.close()
    wait_until(lambda: threading.active_count() <= before, 20, "threads to end")


def test_a_byte_now_and_then_does_not_keep_a_connection(monkeypatch, served):
    monkeypatch.setattr(pages_module, "_DEADLINE_S", 0.3)
    with socket.create_connection(("127.0.0.1", port_of(served)), 20) as client:
        client.settimeout(0.05)
        for _ in range(1000):
            try:
                client.sendall(b"G")
                if client.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("never hung up")


def test_a_taken_port_and_an_unknown_host_are_said(served, caplog):
    with pytest.raises(OutputError, match=r"port \d+ cannot be listened on.*in use") as caught:
        PageServer("127.0.0.1", port_of(served), {})
    assert caught.value.exit_code == 9
    with pytest.raises(OutputError, match=r"http: 256\.1\.1\.1 port 0 cannot be listened on"):
        PageServer("256.1.1.1", 0, {})
    assert not caplog.text
    with PageServer("0.0.0.0", 0, {}):
        assert "no authentication" in caplog.text


class Watched:
    """A server on scripted streams, seen through its vitals."""

    def __init__(self):
        self.clock = ManualClock(1000.0)
        ld = ld_signal(400)
        events = [*scripted_chunks(ld, 200.0, 8), *[Silence()] * 20]
        form = StreamFormat("Amp", "EEG", "amp-1", 200.0, LD, ("microvolts",) * len(LD))
        source = MemorySource(form, events, self.clock)
        self.vitals = Vitals(self.clock, LD, {"version": "1.2", "engine": "packed"})
        self.upsampler = Upsampler(make_bundle(1), engine="packed")
        self.server = Server(
            self.upsampler, source, MemorySink(), self.clock, on_status=self.vitals
        )
        self.pages = self.vitals.pages()

    def metrics(self):
        status, _, body = self.pages["/metrics"]()
        assert status == 200
        families = text_string_to_metric_families(body.decode())
        return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}


@pytest.fixture
def watched():
    return Watched()


def test_health_needs_a_loop_that_turns(watched):
    health = watched.pages["/healthz"]
    assert health()[0] == 200
    watched.clock.advance(9.0)
    watched.vitals.beat()
    watched.clock.advance(9.0)
    assert health()[0] == 200, "waiting for the source"
    watched.vitals.follow(lambda: watched.server.heartbeat, lambda: watched.server.state)
    assert health()[0] == 503
    watched.server.step(0.2)
    assert health()[0] == 200
    watched.clock.advance(11.0)
    status, _, body = health()
    assert (status, body) == (503, b"stuck: the loop turned 11.0 s ago\n")


def test_the_heartbeat_goes_on_without_samples(watched):
    for _ in range(60):  # samples, then silence
        before = watched.clock()
        watched.server.step(0.2)
        assert watched.server.heartbeat >= before


def test_readiness_is_the_state_now(watched):
    ready = watched.pages["/readyz"]
    assert ready()[::2] == (503, b"waiting\n")
    watched.vitals.follow(lambda: watched.server.heartbeat, lambda: watched.server.state)
    watched.server.step(0.2)
    assert ready()[::2] == (200, b"running\n")
    for _ in range(70):
        watched.server.step(0.2)
    assert ready()[::2] == (503, b"stale\n")


def test_every_counter_and_state_is_a_metric(watched):
    before = watched.metrics()
    for name in Counters().__dataclass_fields__:
        assert before[f"emag_rt_{name}_total",] == 0
    assert [before["emag_rt_state", name] for name in STATES] == [1, 0, 0, 0]
    assert before["emag_rt_build_info", "packed", "1.2"] == 1
    assert ("emag_rt_latency_p50_seconds",) not in before, "not known yet"
    watched.vitals.follow(lambda: watched.server.heartbeat, lambda: watched.server.state)
    while watched.server.counters.samples_in != 400:
        watched.server.step(0.2)
    watched.vitals(watched.server.status())
    after = watched.metrics()
    assert after["emag_rt_samples_in_total",] == after["emag_rt_samples_out_total",] == 400
    assert after["emag_rt_state", "running"] == 1
    assert after["process_resident_memory_bytes",] > 1e6
    latency = watched.server.status().latency
    for key in ("p50", "p99", "max"):
        expected = latency[f"latency_{key}_ms"] / 1e3
        assert after[f"emag_rt_latency_{key}_seconds",] == pytest.approx(expected)
    assert [after["emag_rt_bad_channel", label] for label in LD] == [0] * len(LD)


def test_metrics_stand_still_between_reports(watched):
    status = ServerStatus("running", "packed", (LD[1],), Counters(samples_in=7), 1.0, 0.1, 0.2)
    watched.vitals(status)
    status.counters.samples_in = 8
    found = watched.metrics()
    assert found["emag_rt_samples_in_total",] == 7
    assert found["emag_rt_bad_channel", LD[1]] == 1
    assert found["emag_rt_bad_channel", LD[0]] == 0
    assert found["emag_rt_input_age_seconds",] == 0.1
    assert found["emag_rt_render_seconds",] == pytest.approx(2e-4)
