"""MNE-LSL on both sides: its player as the amplifier, its streams and epochs as the receiver."""

import time

import mne
import numpy as np
import pytest

from emag_rt.bundle import load_bundle
from tests.live.conftest import SFREQ

pytestmark = [pytest.mark.lsl, pytest.mark.timeout(120)]
PULSE_UV = 300.0


@pytest.fixture
def played(subject):
    """LD channels in volts, as MNE has them, with a pulse at each event on one side of the head."""
    bundle = load_bundle(subject.bundle)
    raw = mne.io.read_raw_fif(subject.play, preload=True, verbose="ERROR")
    raw.pick([e.label for e in bundle.manifest.ld], verbose="ERROR")
    onsets = 0.5 + 0.75 * np.arange(15)
    sides = ["left" if i % 2 else "right" for i in range(15)]
    left = np.array([e.position_mm[0] < 0 for e in bundle.manifest.ld])
    data = raw.get_data()
    pulse = PULSE_UV * 1e-6 * np.sin(np.pi * np.arange(20) / 20)
    for onset, side in zip(onsets, sides, strict=True):
        first = round(onset * SFREQ)
        data[left == (side == "left"), first : first + 20] += pulse
    raw = mne.io.RawArray(data, raw.info, verbose="ERROR")
    raw.set_annotations(mne.Annotations(onsets, 0.1, sides))
    return raw


def test_player_is_a_source_and_epochs_come_from_the_rendered_stream(
    cli, subject, played, unique_id
):
    from mne_lsl.player import PlayerLSL
    from mne_lsl.stream import EpochsStream, StreamLSL

    bundle = load_bundle(subject.bundle)
    amp, hd = f"amp-{unique_id}", f"hd-{unique_id}"
    player = PlayerLSL(played, chunk_size=4, name=amp, source_id=unique_id, annotations=True)
    daemon = cli("serve", subject.bundle, "--source-id", unique_id, "--name", hd, "--wait")
    player.start()
    try:
        ready = daemon.wait_for("ready", 60)
        assert "declares no unit" not in daemon.output
        assert f"8 ch, {SFREQ:g} Hz" in ready
        stream = StreamLSL(bufsize=4, name=hd).connect(acquisition_delay=0.05, timeout=30)
        events = StreamLSL(bufsize=60, name=f"{amp}-annotations")
        events.connect(acquisition_delay=0.05, processing_flags=["clocksync"], timeout=30)
        epochs = EpochsStream(
            stream, 6, None, ["left", "right"], events, tmin=-0.1, tmax=0.4, baseline=(None, 0)
        ).connect(acquisition_delay=0.05)
        end = time.monotonic() + 30
        while epochs.n_new_epochs < 4:
            assert time.monotonic() < end, f"{epochs.n_new_epochs} epochs; {daemon}"
            time.sleep(0.05)
        codes = epochs.events[-4:]
        data = epochs.get_data(n_epochs=4)
        names = dict(enumerate(events.ch_names))
        times = epochs.times
        channels, units = stream.ch_names, {unit[1] for unit in stream.get_channel_units()}
        for one in (epochs, stream, events):
            one.disconnect()
    finally:
        player.stop()
    assert daemon.terminate() == 0
    assert channels == [e.label for e in bundle.manifest.hd]
    assert units == {-6}
    assert data.shape == (4, len(channels), round(0.5 * SFREQ))
    ld = [e.label for e in bundle.manifest.ld]
    left = np.array([e.position_mm[0] < 0 for e in bundle.manifest.ld])
    measured = data[:, [channels.index(label) for label in ld]]
    for code, epoch in zip(codes, measured, strict=True):
        side = (left == (names[code] == "left")).astype(float)
        difference = (side / side.sum() - (1 - side) / (1 - side).sum()) @ epoch
        peak = difference.argmax()
        assert 0.03 < times[peak] < 0.1, "50 ms to its middle, and the filter's 10"
        assert 0.6 * PULSE_UV < difference[peak] < 1.4 * PULSE_UV, "volts became microvolts"
