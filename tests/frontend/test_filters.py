"""The causal filter: scipy's numbers, whatever the chunks; offsets and NaN do no harm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import sosfilt, sosfilt_zi

from emag_rt.errors import SettingsError
from emag_rt.frontend import CausalFilter, design_band
from tests.factories import prop, random_cuts

BANDS = [(0.5, 45.0, 200.0), (0.1, 100.0, 2048.0), (1.0, 15.0, 128.0), (0.5, 300.0, 8000.0)]


def scipy_filter(sos, x):
    """From the steady state of the first sample."""
    zi = sosfilt_zi(sos)
    out = np.empty_like(x)
    for c in range(x.shape[1]):
        out[:, c] = sosfilt(sos, x[:, c], zi=zi * x[0, c])[0]
    return out


@pytest.mark.parametrize("band", BANDS)
def test_equals_scipy_from_the_steady_state(band):
    sos = design_band(*band)
    rng = np.random.default_rng(1)
    x = rng.normal(scale=30.0, size=(5000, 3)).cumsum(axis=0) * 0.1 + [0.0, 50.0, -300.0]
    found = CausalFilter(sos, 3).process(x)
    np.testing.assert_allclose(found, scipy_filter(sos, x), atol=1e-7 * np.abs(x).max())
    assert np.abs(found).max() > 1.0


@prop
@given(seed=st.integers(0, 10_000), n_cuts=st.integers(0, 12), gaps=st.booleans())
def test_any_chunking_equals_one_block(seed, n_cuts, gaps):
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=30.0, size=(300, 4))
    if gaps:
        x[rng.random(x.shape) < 0.2] = np.nan
        x[: int(rng.integers(300)), 1] = np.nan
        x[:, 3] = np.inf
    sos = design_band(*BANDS[0])
    whole = CausalFilter(sos, 4).process(x)
    chunked = CausalFilter(sos, 4)
    parts = [chunked.process(x[cut]) for cut in random_cuts(rng, 300, n_cuts)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-10)
    assert np.isfinite(whole).all()


def test_offset_of_100_mv_makes_no_transient():
    sos = design_band(*BANDS[0])
    x = np.random.default_rng(2).normal(scale=10.0, size=(1000, 2))
    plain = CausalFilter(sos, 2).process(x)
    offset = CausalFilter(sos, 2).process(x + np.array([1e5, -1e5]))
    np.testing.assert_allclose(offset, plain, atol=1e-7)
    constant = CausalFilter(sos, 2).process(np.full((500, 2), 1e5))
    np.testing.assert_array_equal(constant, 0.0)


def test_a_hole_is_forgotten():
    sos = design_band(*BANDS[0])
    x = np.random.default_rng(3).normal(scale=10.0, size=(4000, 1))
    holed = x.copy()
    holed[500:520] = np.nan
    whole, found = CausalFilter(sos, 1).process(x), CausalFilter(sos, 1).process(holed)
    np.testing.assert_array_equal(found[:500], whole[:500])
    assert np.abs(found[500:520] - whole[500:520]).max() > 1.0
    np.testing.assert_allclose(found[3500:], whole[3500:], atol=1e-3)


def test_a_late_start_is_a_start():
    sos = design_band(*BANDS[0])
    x = np.random.default_rng(4).normal(scale=10.0, size=(200, 1)) + 5000.0
    late = np.concatenate([np.full((70, 1), np.nan), x])
    found = CausalFilter(sos, 1).process(late)
    np.testing.assert_array_equal(found[:70], 0.0)
    np.testing.assert_allclose(found[70:], CausalFilter(sos, 1).process(x), atol=1e-9)


def test_reset_starts_anew():
    sos = design_band(*BANDS[0])
    x = np.random.default_rng(5).normal(scale=10.0, size=(90, 2))
    stage = CausalFilter(sos, 2)
    first = stage.process(x)
    assert np.abs(stage.process(x) - first).max() > 0.1
    stage.reset()
    np.testing.assert_array_equal(stage.process(x), first)


def test_sections_that_pass_dc_are_refused():
    from scipy.signal import butter

    with pytest.raises(SettingsError, match="block DC"):
        CausalFilter(butter(2, 40.0, fs=200.0, output="sos"), 1)


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.0, 40.0, "0 < LO < HI"),
        (40.0, 4.0, "0 < LO < HI"),
        (np.nan, 40.0, "0 < LO < HI"),
        (0.5, 100.0, "--band 0.5 80"),
    ],
)
def test_bands_that_do_not_fit_are_refused(low, high, message):
    with pytest.raises(SettingsError, match=message):
        design_band(low, high, 200.0)


def test_band_does_what_it_says():
    from scipy.signal import sosfreqz

    sos = design_band(0.5, 45.0, 200.0)
    _, gain = sosfreqz(sos, worN=[0.01, 0.5, 10.0, 45.0, 90.0], fs=200.0)
    np.testing.assert_allclose(np.abs(gain)[1:4], [np.sqrt(0.5), 1.0, np.sqrt(0.5)], atol=0.02)
    assert np.abs(gain)[[0, 4]].max() < 0.02
