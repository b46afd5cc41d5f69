"""The daemon's outlet by the rules of OpenViBE's acquisition driver (LabStreamingLayer).

The driver resolves by name, prefers the source id it was set up with, takes labels from
desc/channels/channel/label and the rate as an unsigned integer, pulls floats, does not recover a
lost stream, and cuts blocks by counting samples: stamps only place its markers. Where no sample
comes for two seconds it puts one of NaN, and goes on. Of markers it takes int32 alone.
"""

import threading
import time

import numpy as np
import pylsl
import pytest

from emag_rt.bundle import load_bundle
from emag_rt.streams.lsl import LslSink, OutletSpec, local_clock
from emag_rt.streams.marker_codes import EVENTS, LABEL_00
from tests.live.conftest import SFREQ

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
BLOCK = 32


class Driver:
    """What ovasCDriverLabStreamingLayer.cpp does, in its order."""

    def __init__(self, name, source_id=""):
        found = pylsl.resolve_byprop("name", name, 1, 20.0)
        assert found, "nothing of that name"
        preferred = [info for info in found if info.source_id() == source_id]
        info = (preferred or found)[0]
        self.n_channels = info.channel_count()
        self.rate = np.uint32(info.nominal_srate())
        self.float32 = info.channel_format() == pylsl.cf_float32
        self.exact = float(self.rate) == info.nominal_srate()
        self.inlet = pylsl.StreamInlet(info, 360, recover=False)
        desc = self.inlet.info(5.0).desc()
        self.labels = []
        channel = desc.child("channels").child("channel")
        while not channel.empty():
            self.labels.append(channel.child_value("label"))
            channel = channel.next_sibling("channel")
        self.inlet.open_stream(5.0)
        self.markers = None

    def listen(self, name):
        """To a stream of stimulations."""
        (info,) = pylsl.resolve_byprop("name", name, 1, 20.0)
        assert info.channel_format() == pylsl.cf_int32
        self.markers = pylsl.StreamInlet(info, 360, recover=False)
        self.markers.open_stream(5.0)

    def block(self):
        """The next 32 samples, whatever their stamps, and these stamps; padded after 2 s each."""
        pulled = [self.inlet.pull_sample(2.0) for _ in range(BLOCK)]
        rows = [[np.nan] * self.n_channels if row is None else row for row, _ in pulled]
        return np.array(rows), np.array([stamp or np.nan for _, stamp in pulled])

    def stimulations(self):
        """Numbers that have come since the last block, with their stamps."""
        pulled = iter(lambda: self.markers.pull_sample(0.0), (None, None))
        return [(value[0], stamp) for value, stamp in pulled]


def test_blocks_stay_dense_through_gaps_of_the_source(cli, subject, unique_id):
    bundle = load_bundle(subject.bundle)
    labels = tuple(e.label for e in bundle.manifest.ld)
    amp = LslSink(OutletSpec(f"amp-{unique_id}", unique_id, labels, SFREQ))
    daemon = cli(
        *("serve", subject.bundle, "--config", "configs/openvibe.yaml"),
        *("--source-id", unique_id, "--name", f"ov-{unique_id}", "--quiet"),
    )
    daemon.wait_for("ready", 60)
    driver = Driver(f"ov-{unique_id}")
    assert driver.float32
    assert driver.exact
    assert driver.rate == SFREQ
    assert driver.labels == [e.label for e in bundle.manifest.hd]
    assert len(driver.labels) == len(set(driver.labels)) == driver.n_channels

    n = 400
    lost = np.r_[100:103, 200:260]  # one short gap, which is bridged, and one that is filled
    kept = np.setdiff1d(np.arange(n), lost)
    signal = np.random.default_rng(0).normal(0, 20, (n, len(labels))).astype(np.float32)
    start = local_clock()
    for index in np.array_split(kept, 60):
        time.sleep(max(0.0, start + index[-1] / SFREQ - local_clock()))
        amp.push(signal[index], start + index / SFREQ)
    blocks = [driver.block() for _ in range(n // BLOCK)]
    rows = np.concatenate([block for block, _ in blocks])
    stamps = np.concatenate([times for _, times in blocks])
    assert np.isfinite(rows).all()
    # Counting samples tells the time, which is all that OpenViBE does.
    np.testing.assert_allclose(stamps - stamps[0], np.arange(len(stamps)) / driver.rate, atol=1e-6)
    assert stamps[0] == start
    held = rows[200:260]
    np.testing.assert_array_equal(held, np.broadcast_to(rows[199], held.shape))
    assert daemon.terminate() == 0
    amp.close()


def amplifier(labels, unique_id, seconds, stop):
    """Sends noise at the rate until told to stop, or for so long; a new outlet each time."""
    amp = LslSink(OutletSpec(f"amp-{unique_id}", unique_id, labels, SFREQ))
    rng, start, sent = np.random.default_rng(0), local_clock(), 0
    while not stop.is_set() and sent < seconds * SFREQ:
        stop.wait(max(0.0, start + (sent + 7) / SFREQ - local_clock()))
        rows = rng.normal(0, 20, (8, len(labels))).astype(np.float32)
        amp.push(rows, start + np.arange(sent, sent + 8) / SFREQ)
        sent += 8
    amp.close()


def test_an_amplifier_that_is_away_puts_neither_nan_nor_another_time(cli, subject, unique_id):
    labels = tuple(e.label for e in load_bundle(subject.bundle).manifest.ld)
    stop = threading.Event()

    def play():
        amplifier(labels, unique_id, 4.0, stop)
        stop.wait(7.0)
        amplifier(labels, unique_id, 60.0, stop)

    player = threading.Thread(target=play)
    player.start()
    daemon = cli(
        *("serve", subject.bundle, "--config", "configs/openvibe.yaml", "--mismatch", "warn"),
        *("--source-id", unique_id, "--name", f"ov-{unique_id}", "--quiet"),
    )
    try:
        daemon.wait_for("ready", 60)
        driver = Driver(f"ov-{unique_id}")
        driver.listen(f"ov-{unique_id}-markers")
        blocks, codes, ahead = [], [], []
        while len(blocks) * BLOCK < 17.0 * SFREQ:
            blocks.append(driver.block())
            codes += [code for code, _ in driver.stimulations()]
            # The time it makes of its count, against the clock.
            ahead.append(local_clock() - blocks[0][1][0] - len(blocks) * BLOCK / SFREQ)
    finally:
        stop.set()
        player.join()
    rows, stamps = (np.concatenate(part) for part in zip(*blocks, strict=True))
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=0.02)
    still = (np.diff(rows, axis=0) == 0).all(axis=1)
    assert 6.0 * SFREQ < still.sum() < 10.0 * SFREQ
    assert min(ahead) > -0.1
    assert max(ahead) < 1.9
    assert abs(ahead[-1]) < 0.5
    names = {EVENTS[code - LABEL_00] for code in codes}
    assert {"silent", "recovered", "gap"} <= names
    assert daemon.terminate() == 0
