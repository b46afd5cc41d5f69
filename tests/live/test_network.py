"""A source on another host, over a network that delays, loses and fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emag_rt.bundle import load_bundle
from tests.conftest import Child
from tests.live.conftest import SFREQ
from tests.live.network import Network, why_not

pytestmark = [
    pytest.mark.lsl,
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "can be made"),
]
AMPLIFIER = Path(__file__).parents[1] / "streams" / "amplifier.py"


@pytest.fixture
def network(tmp_path):
    with Network(tmp_path) as net:
        yield net


@pytest.fixture
def on_host(network):
    children = []

    def start(host, *arguments, **clock):
        child = Child(network.command(host, *arguments, **clock), network.env)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        print(f"{child}\n[exit {child.process.returncode}]")


def lines_of(status):
    return [json.loads(line) for line in status.read_text().splitlines()]


def test_an_outage_of_five_seconds_on_a_lossy_line(
    network, on_host, subject, unique_id, tmp_path, wait_until
):
    """Nothing is lost, repeated, made up or taken for a jump; what came too late is skipped."""
    status = tmp_path / "status.jsonl"
    labels = ",".join(e.label for e in load_bundle(subject.bundle).manifest.ld)
    network.set(delay_ms=15, jitter_ms=5, loss=0.02)
    amp = on_host(0, AMPLIFIER, "amp", unique_id, labels, SFREQ, "float32", 10**6)
    amp.wait_for("up")
    daemon = on_host(
        *(1, "-m", "emag_rt", "serve", subject.bundle, "--source-id", unique_id),
        *("--timeout", 30, "--status-json", status),
    )
    daemon.wait_for("ready", 60)
    wait_until(lambda: lines_of(status)[2:], 20.0, "two seconds of samples")
    network.set(down=1)
    daemon.wait_for("source is silent", 20)
    before = len(lines_of(status))
    wait_until(lambda: len(lines_of(status)) >= before + 4, 20.0, "five seconds without a line")
    network.set(down=0)
    daemon.wait_for("the source is back", 30)
    wait_until(lambda: lines_of(status)[-1]["input_age_s"] < 0.5, 30.0, "the newest samples")
    assert daemon.terminate() == 0
    last = lines_of(status)[-1]
    assert last["recovered"] >= 1  # lost again, TCP's next try comes seconds later
    assert last["skipped"] > 2 * SFREQ
    assert last["samples_in"] == last["samples_out"] + last["skipped"]
    made_up = ("gaps", "bridged", "filled", "jumps", "duplicates", "out_of_order", "restamped")
    assert {key: last[key] for key in made_up} == dict.fromkeys(made_up, 0)
    assert "Traceback" not in daemon.output


@pytest.mark.soak
@pytest.mark.parametrize(("loss", "clock_s"), [(0.0, 0), (0.05, 1000), (0.2, 0)])
def test_stamps_are_right_to_a_millisecond(network, on_host, unique_id, loss, clock_s):
    """The true offset is known: both hosts have this machine's clock, set ahead or not."""
    network.set(delay_ms=20, jitter_ms=10, loss=loss)
    amp = on_host(
        *(0, AMPLIFIER, "amp", unique_id, "A,B", SFREQ, "double64", 10**6), clock_s=clock_s
    )
    amp.wait_for("up")
    reader = on_host(1, Path(__file__).with_name("network_reader.py"), unique_id, 75)
    reader.wait_for("open", 60)
    start = float(amp.wait_for("start").split()[1]) - clock_s
    assert reader.finish(100) == 0
    seen = [json.loads(line) for line in reader.lines if line.startswith("{")]
    assert seen[-1]["disorder"] == seen[-1]["steps"] == 0
    assert seen[-1]["n"] == seen[-1]["value"] + 1, "none lost"
    errors = [abs(s["stamp"] - start - s["value"] / SFREQ) for s in seen]
    assert max(errors) < 10e-3
    assert max(errors[40:]) < 1e-3
