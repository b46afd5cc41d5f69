"""A real recording, played, served and read back: the numbers of `upsample`, by every engine."""

from __future__ import annotations

import numpy as np
import pytest

from calibration import CalibrationSettings, FieldCalibrator
from emag_rt.bundle import load_bundle
from emag_rt.engine.offline import render_recording
from emag_rt.engine.upsampler import Upsampler
from emag_rt.recordings.read import read_recording
from tests.live.reading import EVERY_ROW, open_stream, read_until

pytestmark = [pytest.mark.data, pytest.mark.lsl, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def real(data_dir, tmp_path_factory):
    """Bundle of S001, and what it renders for a run it has not seen."""
    path = tmp_path_factory.mktemp("real") / "s001.emag"
    calibrator = FieldCalibrator(16, CalibrationSettings(refine=False))
    calibrator.fit([data_dir / "S001R03.edf"]).save(path)
    bundle = load_bundle(path)
    recording = read_recording(data_dir / "S001R05.edf")
    upsampler = Upsampler(bundle, channels=recording.labels, engine="packed")
    sent = recording.data_uv.astype(np.float32)
    return path, render_recording(upsampler, sent[:8000])


@pytest.mark.parametrize("engine", ["onnx", "packed", "direct"])
def test_every_engine_serves_the_same_numbers(cli, real, data_dir, unique_id, engine):
    path, offline = real
    player = cli(
        "simulate",
        "--recording",
        data_dir / "S001R05.edf",
        "--channels",
        f"ld:{path}",
        "--source-id",
        unique_id,
        "--chunk",
        "8",
    )
    player.wait_for("playing", 60)
    named = ("--source-id", unique_id, "--name", unique_id, "--engine", engine)
    daemon = cli("serve", path, *named, *EVERY_ROW)
    daemon.wait_for("ready", 90)
    hd = open_stream(unique_id)
    [(rows, stamps)] = read_until([hd], lambda seen: len(seen[0]) > 400)
    assert (np.diff(stamps) > 0).all()
    np.testing.assert_allclose(np.diff(stamps), 1 / 160, rtol=1e-6)
    # Measured channels are passed through, so they tell where the reader came in.
    window = np.lib.stride_tricks.sliding_window_view(offline[:, 10], 50)
    first = int(np.abs(window - rows[:50, 10]).max(axis=1).argmin())
    np.testing.assert_allclose(rows, offline[first : first + len(rows)], atol=1e-2, rtol=1e-5)
    assert daemon.terminate() == 0
