"""Amplifiers that stamp badly, and lose nothing: real processes, real LSL."""

import threading
import time

import mne
import numpy as np
import pylsl
import pytest

from emag_rt import Upsampler
from emag_rt.bundle import load_bundle
from tests.live.conftest import SFREQ

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
CASES = ("burst-2", "burst-9", "unstamped", "unstamped-chunk", "inf-stamp", "ahead-stamp")
SECONDS = 8.0


def play(outlet, signal, case):
    """All samples, in order; only what is said of their time is wrong."""
    size = {"burst-2": 2, "burst-9": 9, "unstamped": 2}.get(case, 8)
    start = pylsl.local_clock() + 0.1
    for i in range(0, len(signal), size):
        rows, places = signal[i : i + size], np.arange(i, min(i + size, len(signal)))
        stamps = start + places / SFREQ
        time.sleep(max(0.0, stamps[-1] - pylsl.local_clock()))
        stamps[(places % 500 == 499) & (case == "inf-stamp")] = np.inf
        stamps[(places % 800 == 799) & (case == "ahead-stamp")] += 0.7
        if case == "unstamped-chunk":
            outlet.push_chunk(rows.tolist())
            continue
        for row, stamp in zip(rows, stamps, strict=True):
            if case == "unstamped":
                outlet.push_sample(row)
            else:
                now = pylsl.local_clock() if case.startswith("burst") else stamp
                outlet.push_sample(row, now)
    return start


class Lab:
    """One amplifier, its daemon, and a receiver of HD."""

    def __init__(self, cli, subject, source_id, case):
        self.case = case
        self.bundle = load_bundle(subject.bundle)
        labels = [e.label for e in self.bundle.manifest.ld]
        raw = mne.io.read_raw_fif(subject.play, verbose="ERROR")
        n = round(SECONDS * SFREQ)
        values = raw.get_data(picks=labels)[:, :n].T * 1e6
        self.signal = np.ascontiguousarray(values, np.float32)
        info = pylsl.StreamInfo(f"amp-{source_id}", "EEG", len(labels), SFREQ, "float32", source_id)
        channels = info.desc().append_child("channels")
        for label in labels:
            channel = channels.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("unit", "microvolts")
        self.amp = pylsl.StreamOutlet(info)
        self.name = f"hd-{source_id}"
        self.daemon = cli("serve", subject.bundle, "--source-id", source_id, "--name", self.name)

    def connect(self, wait_until):
        self.daemon.wait_for("ready", 60)
        (found,) = pylsl.resolve_byprop("name", self.name, 1, 20.0)
        self.inlet = pylsl.StreamInlet(found, 60)
        self.inlet.open_stream(10.0)
        wait_until(self.amp.have_consumers, 10.0)

    def play(self):
        self.start = play(self.amp, self.signal, self.case)

    def check(self, wait_until):
        n, rows, stamps = len(self.signal), [], []

        def all_there():
            new, at = self.inlet.pull_chunk(0.2, max_samples=4096)
            rows.extend(new or [])
            stamps.extend(at or [])
            return len(rows) >= n

        wait_until(all_there, 20.0, self.case)
        assert self.daemon.terminate() == 0, self.daemon.output
        expected = Upsampler(self.bundle).push(self.signal.astype(float))[0]
        assert len(rows) == n, self.case
        error = np.sum((np.array(rows) - expected) ** 2) / np.sum(expected**2)
        assert error < 1e-10, self.case
        np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=0.011, err_msg=self.case)
        middle = self.start + (n - 1) / 2 / SFREQ
        assert abs(np.mean(stamps) - middle) < 0.1, self.case
        for told in ("gap of", "jumped", "beyond the latency budget", "repeated, 1"):
            assert told not in self.daemon.output, self.case


@pytest.mark.parametrize("cases", [CASES[:3], CASES[3:]], ids=",".join)
def test_every_sample_becomes_one_row_at_the_rate(cli, subject, unique_id, cases, wait_until):
    """Three amplifiers at a time, each with a daemon of its own."""
    labs = [Lab(cli, subject, f"{unique_id}-{case}", case) for case in cases]
    for lab in labs:
        lab.connect(wait_until)
    players = [threading.Thread(target=lab.play) for lab in labs]
    for player in players:
        player.start()
    for player in players:
        player.join(30.0)
    for lab in labs:
        lab.check(wait_until)
