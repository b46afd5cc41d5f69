"""Amplifiers that others ship: pyxdf plays a file, pylsl's examples send random numbers.

What the daemon must do: serve every sample once, in order, whatever the stamps; say what is not
declared, and refuse what cannot be EEG of this size.
"""

from __future__ import annotations

import json
import time

import numpy as np
import pylsl
import pytest

from emag_rt import Upsampler
from emag_rt.bundle import load_bundle
from emag_rt.recordings.xdf_write import XdfWriter
from tests.live.clients.amplifier import Amplifier
from tests.live.conftest import SFREQ
from tests.live.reading import EVERY_ROW, open_stream, read_until

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
PLAIN = "myuid34234"  # what SendData has for its source id
SCALE = 40.0  # random numbers from 0 to 1 become as large as EEG


def test_pyxdf_plays_a_recording(cli, spawn, subject, unique_id, tmp_path):
    """It stamps the last sample of each push: LSL places the others by the declared rate."""
    amplifier = Amplifier(subject, unique_id, 800)
    marks = pylsl.StreamInfo(f"marks-{unique_id}", "Markers", 1, 0, "string", f"m-{unique_id}")
    xdf = tmp_path / "session.xdf"
    stamps = 100.0 + np.arange(800) / SFREQ
    with XdfWriter(xdf) as writer:
        (info,) = pylsl.resolve_byprop("source_id", unique_id, 1, 20)
        eeg = writer.add_stream(pylsl.StreamInlet(info).info(20).as_xml())
        text = writer.add_stream(marks.as_xml())
        writer.samples(eeg, amplifier.rows, stamps)
        writer.samples(text, [["go"]], stamps[400:401])
    amplifier.sink.close()
    # Looped: at its end it goes without waiting for the last samples to be on their way.
    player = spawn("-m", "pyxdf.cli.playback_lsl", xdf, "--wait_for_consumer", "--loop")
    daemon = cli(
        *("serve", subject.bundle, "--source-id", unique_id, "--name", f"hd-{unique_id}"),
        *("--wait", "--status-json", tmp_path / "status.jsonl", *EVERY_ROW),
    )
    daemon.wait_for("ready", 60)
    hd = open_stream(f"hd-{unique_id}")
    (found,) = pylsl.resolve_byprop("source_id", f"m-{unique_id}", 1, 20)
    markers = pylsl.StreamInlet(found)
    markers.open_stream(20)  # only now has every stream a receiver, and it begins
    [(rows, times)] = read_until([hd], lambda stamps: len(stamps[0]) >= 1000)
    _, marked = markers.pull_sample(20)
    assert daemon.terminate() == 0
    player.interrupt()
    played = np.resize(amplifier.rows, (len(rows), len(amplifier.labels)))
    np.testing.assert_allclose(times - times[0], np.arange(len(rows)) / SFREQ, atol=1e-6)
    expected, _ = Upsampler(load_bundle(subject.bundle)).push(played, times)
    np.testing.assert_allclose(rows, expected, atol=1e-3, rtol=1e-5)
    assert marked == pytest.approx(times[400], abs=1e-6)
    summary = json.loads((tmp_path / "status.jsonl").read_text().splitlines()[-1])
    assert summary["samples_in"] == summary["samples_out"] >= 1000
    assert summary["gaps"] == summary["bridged"] == summary["restamped"] == 0


@pytest.fixture
def examples(spawn, subject, ten_twenty):
    """Two running examples of pylsl: the bundle that fits it, by source id."""
    found = {}
    for name, source_id, rate, bundle in (
        ("SendData", PLAIN, "-s", subject.bundle),
        ("SendDataAdvanced", "myuid2424", "--srate", ten_twenty),
    ):
        spawn("-m", f"pylsl.examples.{name}", rate, round(SFREQ)).wait_for("now sending", 30)
        found[source_id] = bundle
    return found


def test_random_numbers_of_no_size_are_refused_with_the_remedy(cli, unique_id, examples):
    daemons = {
        source_id: cli(
            "serve", bundle, "--source-id", source_id, "--name", f"{source_id}-{unique_id}"
        )
        for source_id, bundle in examples.items()
    }
    for source_id, daemon in daemons.items():
        assert daemon.finish(60) == 8, source_id
        assert "amplitudes must be those of the calibration" in daemon.output
        assert "--scale" in daemon.output
        if source_id == PLAIN:  # describes no channels at all
            assert "names no channels: taken to be" in daemon.output
            assert "declares no unit: taken to be microvolts" in daemon.output


def test_samples_stamped_as_they_arrive_are_served_once(cli, unique_id, examples, tmp_path):
    daemons = {
        source_id: cli(
            *("serve", bundle, "--source-id", source_id, "--name", f"{source_id}-{unique_id}"),
            *("--scale", SCALE, "--status-json", tmp_path / f"{source_id}.jsonl"),
        )
        for source_id, bundle in examples.items()
    }
    for daemon in daemons.values():
        daemon.wait_for("ready", 60)
    outlets = [open_stream(f"{source_id}-{unique_id}") for source_id in examples]
    start = time.monotonic()
    read = read_until(outlets, lambda _: time.monotonic() > start + 8)
    for (source_id, daemon), (_, stamps) in zip(daemons.items(), read, strict=True):
        assert daemon.terminate() == 0
        summary = json.loads((tmp_path / f"{source_id}.jsonl").read_text().splitlines()[-1])
        assert summary["samples_in"] == summary["samples_out"] > 7 * SFREQ, source_id
        assert summary["bridged"] == summary["filled"] == 0, "rows made up"
        np.testing.assert_allclose(np.diff(stamps), 1 / SFREQ, atol=0.5 / SFREQ)
        assert len(stamps) / (stamps[-1] - stamps[0]) == pytest.approx(SFREQ, rel=0.005)
