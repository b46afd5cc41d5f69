"""Receivers that stall, die, or come and go: an outlet neither waits for them nor grows."""

import os
import signal

import numpy as np
import psutil
import pytest

from emag_rt.streams.lsl import LslSink, LslSource, OutletSpec, StreamQuery, local_clock
from emag_rt.streams.metadata import buffer_seconds

pytestmark = pytest.mark.lsl
N_CHANNELS, SFREQ = 256, 1000.0
READER = """
import sys, pylsl
inlets = []
for _ in range(int(sys.argv[2])):
    info = pylsl.resolve_byprop("source_id", sys.argv[1], timeout=20)[0]
    inlets.append(pylsl.StreamInlet(info, max_buflen=360))
    inlets[-1].open_stream(20)
print("reading", flush=True)
while True:
    for inlet in inlets:
        inlet.pull_sample(timeout=0.1)
"""


def rss_mb():
    return psutil.Process().memory_info().rss / 1e6


def listening():
    """TCP ports on which this process listens: its outlets', and what other tests have left."""
    return {c.laddr.port for c in psutil.Process().net_connections("tcp") if c.status == "LISTEN"}


def connections(ports):
    """What is connected to these ports of this process, half-closed ones (CLOSE_WAIT) too."""
    tcp = psutil.Process().net_connections("tcp")
    return [c for c in tcp if c.laddr.port in ports and c.status != "LISTEN"]


class Pusher:
    """Pushes seconds of ramp, much faster than real time."""

    def __init__(self, unique_id):
        labels = tuple(f"c{i}" for i in range(N_CHANNELS))
        self.sink = LslSink(OutletSpec("wide", unique_id, labels, SFREQ))
        self.start, self.n = local_clock(), 0

    def push(self, seconds):
        for _ in range(round(seconds)):
            numbers = np.arange(self.n, self.n + round(SFREQ))
            rows = np.repeat(numbers[:, None], N_CHANNELS, axis=1).astype(np.float32)
            self.sink.push(rows, self.start + numbers / SFREQ)
            self.n += len(numbers)


def test_a_receiver_that_is_stopped_blocks_nothing_and_costs_bounded_memory(
    spawn, unique_id, wait_until
):
    pusher = Pusher(unique_id)
    kept_s = buffer_seconds(N_CHANNELS, SFREQ)
    stuck = spawn("-c", READER, unique_id, 1)
    stuck.wait_for("reading", 40)
    os.kill(stuck.process.pid, signal.SIGSTOP)
    pusher.push(1.2 * kept_s)  # returns, although nobody reads
    full = rss_mb()
    pusher.push(1.0 * kept_s)
    assert rss_mb() - full < 20.0, "the buffer was full, and stays as it is"
    # Another receiver is served all the same.
    source = LslSource.open(StreamQuery(source_id=unique_id), 20.0)
    seen = pusher.n
    pusher.push(1)
    rows, stamps = source.pull(10.0)
    assert rows[0, 0] >= seen
    np.testing.assert_allclose(stamps, pusher.start + rows[:, 0].astype(float) / SFREQ, rtol=1e-12)
    stuck.kill()
    source.close()
    pusher.push(5)
    assert rss_mb() - full < 20.0


def test_twenty_receivers_that_come_and_are_killed_leave_nothing_behind(
    spawn, unique_id, wait_until
):
    already = listening()
    pusher = Pusher(unique_id)
    ports = listening() - already
    process = psutil.Process()
    before = process.num_threads()  # other tests of this process have left theirs
    for _ in range(2):
        twenty = spawn("-c", READER, unique_id, 20)
        twenty.wait_for("reading", 60)
        pusher.push(2)
        assert process.num_threads() >= before + 20, "a thread for each"
        assert len(connections(ports)) >= 20, "a connection for each"
        twenty.kill()

        def gone():
            pusher.push(1)  # what was sent to the dead comes back as an error
            return not connections(ports) and process.num_threads() < before + 5

        wait_until(gone, 20.0, "connections and threads of receivers that are gone")
    assert pusher.sink.wait_for_consumers(0.0) is False
