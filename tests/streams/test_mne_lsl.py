"""What MNE-LSL, a second liblsl, sees of our outlets."""

import numpy as np
import pytest

from emag_rt.streams.lsl import LslSink, OutletSpec, local_clock

pytestmark = pytest.mark.lsl
POSITIONS = np.array([[-30.0, 85.0, 5.0], [0.0, 0.0, 95.0], [30.0, -88.0, 10.0], [80.0, 0.0, 30.0]])


@pytest.mark.parametrize("kind", ["EEG", "eeg"])
def test_labels_units_positions_and_stamps(unique_id, wait_until, kind):
    mne_lsl = pytest.importorskip("mne_lsl")
    labels = ("Fp1", "Cz", "O2", "C4")
    origin = (-1.0, 15.0, 44.0)
    sink = LslSink(
        OutletSpec(
            f"hd-{kind}",
            unique_id,
            labels,
            100.0,
            type=kind,
            positions_mm=POSITIONS,
            origin_mm=origin,
            channel_origin=("measured", "rendered", "rendered", "rendered"),
            highpass=0.5,
            lowpass=40.0,
            vendor={"version": "1"},
        )
    )
    stream = mne_lsl.stream.StreamLSL(5.0, name=f"hd-{kind}", source_id=unique_id)
    stream.connect(acquisition_delay=0.02, timeout=30.0)
    try:
        info = stream.info
        assert tuple(info.ch_names) == labels
        assert set(info.get_channel_types()) == {"eeg"}
        assert all(int(ch["unit_mul"]) == -6 for ch in info["chs"])
        assert all(int(ch["coord_frame"]) == 4 for ch in info["chs"])
        seen = np.array([ch["loc"][:3] for ch in info["chs"]])
        np.testing.assert_allclose(seen, (POSITIONS + origin) / 1000.0, atol=1e-9)
        montage = stream.get_montage().get_positions()
        assert montage["coord_frame"] == "head"
        np.testing.assert_allclose(montage["ch_pos"]["Cz"], seen[1], atol=1e-7)
        assert (info["highpass"], info["lowpass"]) == (0.5, 40.0)
        values = np.arange(200, dtype=np.float32).reshape(50, 4)
        stamps = local_clock() + np.arange(50) / 100.0
        sink.push(values, stamps)
        wait_until(lambda: stream.n_new_samples >= 50, 10.0)
        data, times = stream.get_data(winsize=0.5)
        np.testing.assert_array_equal(data.T, values)
        # MNE-LSL corrects clocks, by microseconds here
        np.testing.assert_allclose(times, stamps, atol=1e-3)
    finally:
        stream.disconnect()
        sink.close()
