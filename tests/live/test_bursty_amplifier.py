"""Amplifiers that stamp badly, and lose nothing: real processes, real LSL."""

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


@pytest.mark.parametrize("case", CASES)
def test_every_sample_becomes_one_row_at_the_rate(cli, subject, unique_id, case, wait_until):
    bundle = load_bundle(subject.bundle)
    labels = [e.label for e in bundle.manifest.ld]
    raw = mne.io.read_raw_fif(subject.play, verbose="ERROR")
    n = round(SECONDS * SFREQ)
    signal = np.ascontiguousarray(raw.get_data(picks=labels)[:, :n].T * 1e6, np.float32)
    info = pylsl.StreamInfo(f"amp-{unique_id}", "EEG", len(labels), SFREQ, "float32", unique_id)
    channels = info.desc().append_child("channels")
    for label in labels:
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        channel.append_child_value("unit", "microvolts")
    amp = pylsl.StreamOutlet(info)
    daemon = cli("serve", subject.bundle, "--source-id", unique_id, "--name", f"hd-{unique_id}")
    daemon.wait_for("ready", 60)
    (found,) = pylsl.resolve_byprop("name", f"hd-{unique_id}", 1, 20.0)
    inlet = pylsl.StreamInlet(found, 60)
    inlet.open_stream(10.0)
    wait_until(amp.have_consumers, 10.0)
    start = play(amp, signal, case)
    rows, stamps = [], []

    def all_there():
        new, at = inlet.pull_chunk(0.2, max_samples=4096)
        rows.extend(new or [])
        stamps.extend(at or [])
        return len(rows) >= n

    wait_until(all_there, 20.0)
    assert daemon.terminate() == 0, daemon.output
    expected = Upsampler(bundle).push(signal.astype(float))[0]
    assert len(rows) == n
    error = np.sum((np.array(rows) - expected) ** 2) / np.sum(expected**2)
    assert error < 1e-10
    np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, rtol=0.011)
    assert abs(np.mean(stamps) - (start + (n - 1) / 2 / SFREQ)) < 0.1
    for told in ("gap of", "jumped", "beyond the latency budget", "repeated, 1"):
        assert told not in daemon.output
