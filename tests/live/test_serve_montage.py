"""Electrodes nobody wore, live: real processes, real LSL."""

from __future__ import annotations

import mne
import numpy as np
import psutil
import pylsl
import pytest

from emag_rt import Upsampler
from tests.live.conftest import SFREQ
from tests.live.reading import EVERY_ROW, open_stream, read_until
from tests.live.test_serve import start_daemon, start_player

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(180)]
MONTAGE = "cap,PO5,NEW=20/-40/80"


def channels_of(name):
    """Label to the texts of each channel's description."""
    (found,) = pylsl.resolve_byprop("name", name, timeout=20)
    inlet = pylsl.StreamInlet(found)
    info = inlet.info(10)
    channel = info.desc().child("channels").child("channel")
    out = {}
    while not channel.empty():
        keys = ("origin", "virtual", "expected_nmse")
        out[channel.child_value("label")] = {key: channel.child_value(key) for key in keys}
        channel = channel.next_sibling()
    return out, info.source_id(), info.desc().child("emag_rt").child_value("montage")


def test_served_montage_equals_upsampled_and_says_what_is_virtual(
    cli, subject, unique_id, tmp_path
):
    out = tmp_path / "virtual_raw.fif"
    done = cli("upsample", subject.bundle, subject.play, "--out", out, "--montage", MONTAGE)
    assert done.finish(60) == 0, done.output
    assert "2 virtual" in done.output
    raw = mne.io.read_raw_fif(out, verbose="ERROR")
    expected = raw.get_data().T * 1e6
    upsampler = Upsampler.load(subject.bundle, montage=MONTAGE)
    assert tuple(raw.ch_names) == upsampler.labels

    start_player(cli, subject, unique_id, "--chunk", "3")
    daemon = start_daemon(cli, subject, unique_id, "--montage", MONTAGE, *EVERY_ROW)
    hd = open_stream(f"hd-{unique_id}")
    channels, source_id, note = channels_of(f"hd-{unique_id}")
    [(rows, _)] = read_until([hd], lambda stamps: len(stamps[0]) > 3 * SFREQ)
    # The whole recording is played once: what came is one stretch of what upsample wrote.
    starts = [
        i
        for i in range(len(expected) - len(rows) + 1)
        if np.allclose(rows[0], expected[i], atol=2e-3, rtol=1e-5)
    ]
    assert len(starts) == 1
    np.testing.assert_allclose(
        rows, expected[starts[0] : starts[0] + len(rows)], atol=2e-3, rtol=1e-5
    )
    assert np.abs(rows[:, -2:]).max() > 1.0, "virtual channels carry signal"

    assert tuple(channels) == upsampler.labels
    ld = {e.label for e in upsampler.bundle.manifest.ld}
    assert {label for label, c in channels.items() if c["origin"] == "measured"} == ld
    assert {label for label, c in channels.items() if c["virtual"] == "true"} == {"PO5", "NEW"}
    assert 0 < float(channels["PO5"]["expected_nmse"]) < 1.5
    assert "2 virtual" in note

    mapped = " ".join(m.path for m in psutil.Process(daemon.process.pid).memory_maps())
    assert "torch" not in mapped
    assert "/mne" not in mapped
    assert daemon.terminate() == 0

    start_player(cli, subject, f"{unique_id}b", "--loop")
    other = MONTAGE.replace("20/-40/80", "25/-40/80")
    moved = cli(
        "serve", subject.bundle, "--source-id", f"{unique_id}b", "--name", f"hd-{unique_id}",
        "--montage", other,
    )  # fmt: skip
    moved.wait_for("ready", 60)
    assert channels_of(f"hd-{unique_id}")[1] != source_id, "other places, another stream"
    assert moved.terminate() == 0


@pytest.mark.parametrize(
    ("montage", "text"), [("Nowhere1", "10-05"), ("absent.tsv", "absent.tsv"), ("a=1/2", "x/y/z")]
)
def test_montages_that_cannot_be_served_end_at_once(cli, subject, montage, text):
    daemon = cli("serve", subject.bundle, "--montage", montage)
    assert daemon.finish(60) == 3
    assert text in daemon.output
    assert "Traceback" not in daemon.output
