"""Maps of the scalp: the newest sample of each chunk, at any points, as the equation says."""

import numpy as np
import pytest

from emag_rt import Upsampler
from emag_rt.core.alignment import Placement
from emag_rt.core.grid import scalp_points
from emag_rt.core.montage import Montage
from emag_rt.engine.dense import DenseMap
from emag_rt.errors import SettingsError
from emag_rt.native import why_not
from tests.factories import ld_signal, make_bundle, relative


def test_points_are_spread_evenly_over_the_upper_half():
    points = scalp_points(2000, 95.0)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 95.0)
    assert (points[:, 2] > 0).all()
    gaps = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(gaps, np.inf)
    nearest = gaps.min(axis=1)
    assert nearest.min() > 0.75 * nearest.mean()
    assert np.abs(points.mean(axis=0)[:2]).max() < 0.5
    with pytest.raises(SettingsError, match="at least 1, got 0"):
        scalp_points(0, 95.0)


@pytest.mark.parametrize("engine", ["native", "packed", "onnx", "torch"])
@pytest.mark.parametrize("look_ahead", [0, 3])
def test_frames_are_the_newest_rows_of_the_equation(engine, look_ahead):
    if engine == "native" and why_not():
        pytest.skip(why_not())
    bundle = make_bundle(31, hidden="dilated", look_ahead=look_ahead)
    points = scalp_points(9, bundle.manifest.head.radius_mm)
    nobody = Placement(Montage(tuple("abcdefghi"), points), (None,) * 9, "a test")
    direct = Upsampler(bundle, engine="direct", montage=nobody, measured="render")
    ld = ld_signal(50)
    wanted, _ = direct.push(ld)
    dense = DenseMap(bundle, 9, engine=engine)
    np.testing.assert_array_equal(dense.positions_mm, points)
    assert dense.engine.startswith(engine)
    frames, rows, start = [], [], 0
    for stop in (1, 2, 17, 17, 18, 50):
        found = dense.push(ld[start:stop], np.arange(start, stop) / 200.0)
        if start == stop or stop <= look_ahead:
            assert found is None
        else:
            frames.append(found[0])
            assert found[1] == (stop - 1 - look_ahead) / 200.0
            rows.append(stop - 1 - look_ahead)
        start = stop
    assert relative(np.stack(frames), wanted[rows]) < 1e-5
    dense.reset()
    frame, stamp = dense.push(ld[:18])
    np.testing.assert_allclose(frame, wanted[17 - look_ahead], rtol=1e-4, atol=1e-3)
    assert stamp == (17 - look_ahead) / bundle.manifest.sfreq


def test_points_of_your_own():
    bundle = make_bundle(32)
    points = scalp_points(4, 80.0)
    dense = DenseMap(bundle, positions_mm=points, engine="packed")
    np.testing.assert_array_equal(dense.positions_mm, points)
    frame, _ = dense.push(ld_signal(3))
    assert frame.shape == (4,)
