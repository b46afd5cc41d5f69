"""Metrics, health and readiness of a server on scripted streams."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args
from wsgiref.util import setup_testing_defaults

import pytest
from prometheus_client.parser import text_string_to_metric_families

from emag_rt.daemon.loop import Server
from emag_rt.daemon.status.counters import Counters, ServerStatus, State
from emag_rt.daemon.status.prometheus import Vitals
from emag_rt.engine.upsampler import Upsampler
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.memory import (
    ManualClock,
    MemorySink,
    MemorySource,
    Silence,
    scripted_chunks,
)
from tests.factories import LD, ld_signal, make_bundle


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

    def ask(self, path, query=""):
        """Status and text of a page."""
        environ, told = {"PATH_INFO": path, "QUERY_STRING": query}, []
        setup_testing_defaults(environ)
        body = self.pages[path](environ, lambda status, _headers: told.append(status))
        return int(told[0].split()[0]), b"".join(body).decode()

    def metrics(self, query=""):
        status, text = self.ask("/metrics", query)
        assert status == 200
        families = text_string_to_metric_families(text)
        return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}


@pytest.fixture
def watched():
    return Watched()


def test_health_needs_a_loop_that_turns(watched):
    def health():
        return watched.ask("/healthz")

    assert health()[0] == 200
    watched.clock.advance(9.0)
    watched.vitals.beat()
    watched.clock.advance(9.0)
    assert health()[0] == 200, "waiting for the source"
    watched.vitals.follow(lambda: watched.server.heartbeat, lambda: watched.server.state)
    assert health()[0] == 503
    watched.server.turn(0.2)
    assert health()[0] == 200
    watched.clock.advance(11.0)
    assert health() == (503, "stuck: the loop turned 11.0 s ago\n")


def test_the_heartbeat_goes_on_without_samples(watched):
    for _ in range(60):  # samples, then silence
        before = watched.clock()
        watched.server.turn(0.2)
        assert watched.server.heartbeat >= before


def test_readiness_is_the_state_now(watched):
    assert watched.ask("/readyz") == (503, "waiting\n")
    watched.vitals.follow(lambda: watched.server.heartbeat, lambda: watched.server.state)
    watched.server.turn(0.2)
    assert watched.ask("/readyz") == (200, "running\n")
    for _ in range(70):
        watched.server.turn(0.2)
    assert watched.ask("/readyz") == (503, "stale\n")


def test_every_counter_and_state_is_a_metric(watched):
    before = watched.metrics()
    for name in Counters().__dataclass_fields__:
        assert before[f"emag_rt_{name}_total",] == 0
    assert [before["emag_rt_state", name] for name in get_args(State)] == [1, 0, 0, 0, 0]
    assert before["emag_rt_build_info", "packed", "1.2"] == 1
    assert ("emag_rt_latency_p50_seconds",) not in before, "not known yet"
    watched.vitals.follow(lambda: watched.server.heartbeat, lambda: watched.server.state)
    while watched.server.counters.samples_in != 400:
        watched.server.turn(0.2)
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
    assert ("emag_rt_ld_misfit",) not in after, "not known yet"
    watched.vitals(replace(watched.server.status(), ld_misfit=1.5, unfit=True))
    told = watched.metrics()
    assert (told["emag_rt_ld_misfit",], told["emag_rt_unfit",]) == (1.5, 1.0)
    assert ("emag_rt_adapted",) not in told, "it was not asked for"
    watched.vitals(replace(watched.server.status(), adapting="adapted", adapted=0.08))
    assert watched.metrics()["emag_rt_adapted",] == 0.08


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


def test_a_scraper_can_ask_for_some_alone(watched):
    assert watched.metrics("name[]=emag_rt_latency_p50_seconds") == {}, "not known yet"
    assert set(watched.metrics("name[]=emag_rt_gaps_total")) == {("emag_rt_gaps_total",)}
