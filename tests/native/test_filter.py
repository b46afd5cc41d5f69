"""The compiled front end carries on the state of the NumPy one, and the other way round."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_rt.frontend import FrontEnd, FrontEndSettings, design_band
from emag_rt.native import why_not
from tests.factories import LD, ld_covariance, ld_signal, prop, random_cuts

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())
SFREQ = 200.0
SETTINGS = FrontEndSettings(LD, design_band(0.5, 45.0, SFREQ), SFREQ, ld_covariance())
EXTRA = ("x", *LD[::-1], "trigger")
UNITS = ("v", *["mV"] * len(LD), "v")


def numpy_front_end(*args):
    stage = FrontEnd(SETTINGS, *args)
    stage.native = None
    return stage


@prop
@given(
    seed=st.integers(0, 10_000),
    n_cuts=st.integers(0, 15),
    faults=st.booleans(),
    kind=st.sampled_from([np.float32, np.float64, np.int16]),
)
def test_equals_numpy(seed, n_cuts, faults, kind):
    rng = np.random.default_rng(seed)
    ld = ld_signal(900, seed=seed) + rng.uniform(-1e4, 1e4, len(LD))
    if faults and kind is not np.int16:
        ld[150:400, 1] = np.nan
        ld[rng.integers(0, 900, 3), rng.integers(0, 8, 3)] = np.inf
        ld[300:700, 4] = ld[300, 4]
        ld[210, 7] = 2e6
        ld[500:, 6] += 3e5
        ld[600:] -= 2e5
        ld[650] += 1e5
    ld = ld.astype(kind)
    expected, found = numpy_front_end(), FrontEnd(SETTINGS)
    for cut in random_cuts(rng, 900, n_cuts):
        np.testing.assert_allclose(
            found.process(ld[cut]), expected.process(ld[cut]), rtol=1e-9, atol=1e-7
        )
        assert found.bad == expected.bad
        assert found.take_jumps() == expected.take_jumps()


def test_columns_units_and_strides():
    raw = np.zeros((400, len(EXTRA)))
    raw[:, 1:-1] = ld_signal(400)[:, ::-1] * 1e-3
    wide = np.repeat(raw, 2, axis=1)[:, ::2]  # not contiguous
    found = FrontEnd(SETTINGS, EXTRA, UNITS)
    expected = numpy_front_end(EXTRA, UNITS)
    for start in range(0, 400, 50):
        rows = wide[start : start + 50]
        np.testing.assert_allclose(found.process(rows), expected.process(rows), atol=1e-7)
    assert found.native is not None


@pytest.mark.parametrize("value", [np.nan, 2e6, 2.5e3])
def test_a_broken_sample_changes_nothing_before_numpy_takes_over(value):
    stage = FrontEnd(SETTINGS)
    ld = ld_signal(60)
    stage.process(ld[:20])
    before = stage._filter.state.copy()
    broken = ld[20:40].copy()
    broken[-1, 2] = value
    assert stage.native.process(broken, 20) is None
    np.testing.assert_array_equal(stage._filter.state, before)
    assert stage._monitor.filled == 20
