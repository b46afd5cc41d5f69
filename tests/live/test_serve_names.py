"""Amplifiers that say little of their channels, as real processes see them."""

from __future__ import annotations

import threading
import time

import mne
import numpy as np
import pylsl
import pytest

from emag_rt.bundle import load_bundle
from tests.live.conftest import SFREQ
from tests.live.reading import EVERY_ROW, open_stream, read_until
from tests.live.test_serve import offline, start_daemon

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]


@pytest.fixture
def amplifier(subject, unique_id):
    """Plays the LD channels backwards in order, described by ``tag``; ends with the test."""
    stop, threads = threading.Event(), []

    def start(tag, names=None, reference=()):
        labels = [e.label for e in load_bundle(subject.bundle).manifest.ld][::-1]
        raw = mne.io.read_raw_fif(subject.play, verbose="ERROR")
        rows = (raw.get_data(picks=labels).T * 1e6).astype(np.float32)
        info = pylsl.StreamInfo(f"amp-{unique_id}", "EEG", 8, SFREQ, "float32", unique_id)
        channels = info.desc().append_child("channels")
        for name in names or labels:
            channel = channels.append_child("channel")
            channel.append_child_value(tag, name).append_child_value("unit", "microvolts")
        node = info.desc().append_child("reference")
        for name, text in reference:
            node.append_child_value(name, text)
        outlet = pylsl.StreamOutlet(info)

        def play():
            while not (outlet.have_consumers() or stop.wait(0.05)):
                pass
            begin = pylsl.local_clock() + 2.0
            for at in range(0, len(rows) - 4, 4):
                if stop.wait(max(0.0, begin + (at + 3) / SFREQ - pylsl.local_clock())):
                    return
                stamps = (begin + np.arange(at, at + 4) / SFREQ).tolist()
                outlet.push_chunk(rows[at : at + 4].tolist(), stamps)
            time.sleep(1.0)

        threads.append(threading.Thread(target=play))
        threads[0].start()
        return labels

    yield start
    stop.set()
    for thread in threads:
        thread.join(20)


@pytest.mark.parametrize("how", ["name", "channels"])
def test_rows_are_right_whatever_the_channels_are_called(
    how, amplifier, cli, subject, unique_id, tmp_path
):
    expected, _ = offline(cli, subject, tmp_path / "offline_raw.fif")
    average = (("label", "average"), ("subtracted", "Yes"), ("common_average", "Yes"))
    if how == "name":
        amplifier("name", reference=average)
        start_daemon(cli, subject, unique_id, *EVERY_ROW)
    else:
        labels = amplifier("label", [f"Ch{i + 1}" for i in range(8)], average)
        start_daemon(cli, subject, unique_id, "--channels", ",".join(labels), *EVERY_ROW)
    hd = open_stream(f"hd-{unique_id}")
    assert dict(dict(hd.description())["reference"]) == dict(average)
    ((rows, _),) = read_until([hd], lambda stamps: len(stamps[0]) > 3 * SFREQ)
    start = np.abs(expected - rows[0]).max(axis=1).argmin()
    wanted = expected[start : start + len(rows)]
    np.testing.assert_allclose(rows, wanted, atol=2e-3, rtol=1e-5)


def test_ch1_is_refused_with_the_remedy(amplifier, cli, subject, unique_id):
    amplifier("label", [f"Ch{i + 1}" for i in range(8)])
    daemon = cli("serve", subject.bundle, "--source-id", unique_id)
    assert daemon.finish(40) == 8, daemon.output
    assert "--headset NAME" in daemon.output
    assert "--channels A,B,..." in daemon.output
