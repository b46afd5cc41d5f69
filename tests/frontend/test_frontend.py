"""The front end: same numbers whatever order, spelling, unit, reference or chunk."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_rt.core.drive import reference_free
from emag_rt.errors import MontageError, SettingsError
from emag_rt.frontend import FrontEnd, FrontEndSettings, design_band
from emag_rt.frontend.units import unit_to_uv
from tests.factories import LD, ld_covariance, ld_signal, prop, random_cuts

SFREQ = 200.0
SETTINGS = FrontEndSettings(LD, design_band(0.5, 45.0, SFREQ), SFREQ, ld_covariance())
# ld_signal is a first-order recursion, so its past is worth 0.9 a lag.
LAGGED = replace(SETTINGS, lagged_covariance=ld_covariance() * 0.9 ** np.arange(6)[:, None, None])


@prop
@given(
    seed=st.integers(0, 10_000),
    size_uv=st.sampled_from([1.0, 1e3, 5e4]),
    lost=st.sampled_from([None, 2]),
)
def test_common_signals_change_nothing_reference_free(seed, size_uv, lost):
    rng = np.random.default_rng(seed)
    ld = ld_signal(600, seed=seed)
    common = size_uv * rng.normal(size=(600, 1)) + rng.uniform(-1e5, 1e5)
    if lost is not None:
        ld[100:, lost] = np.nan
    plain = reference_free(FrontEnd(SETTINGS).process(ld))[0]
    shifted = reference_free(FrontEnd(SETTINGS).process(ld + common))[0]
    assert np.abs(shifted - plain).max() < 1e-9 * max(size_uv, 1e5)
    assert np.abs(plain).max() > 10.0


@prop
@given(
    seed=st.integers(0, 10_000),
    n_cuts=st.integers(0, 15),
    faults=st.booleans(),
    settings=st.sampled_from([SETTINGS, LAGGED]),
)
def test_any_chunking_equals_one_block(seed, n_cuts, faults, settings):
    rng = np.random.default_rng(seed)
    ld = ld_signal(900, seed=seed)
    if faults:
        ld[150:400, 1] = np.nan
        ld[rng.integers(0, 900, 3), rng.integers(0, 8, 3)] = np.nan
        ld[300:700, 4] = ld[300, 4]
        ld[200:600, 6] += 3000.0 * rng.normal(size=400)
        ld[210, 7] = 2e6
        ld[rng.integers(0, 900) :, 0] += 3e5
        ld[rng.integers(0, 900) :] -= 2e5
        ld[rng.integers(0, 900)] += 1e5
        ld[rng.integers(0, 900), 3] += 3e5
    whole = FrontEnd(settings)
    expected = whole.process(ld)
    chunked = FrontEnd(settings)
    parts = [chunked.process(ld[cut]) for cut in random_cuts(rng, 900, n_cuts)]
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)
    assert chunked.bad == whole.bad
    assert chunked.reasons == whole.reasons
    assert chunked.take_jumps() == whole.take_jumps()
    assert [lack.time for lack in chunked.take_lacks()] == [
        lack.time for lack in whole.take_lacks()
    ]
    assert np.isfinite(expected).all()


def test_order_case_aliases_and_extra_channels_do_not_matter():
    ld = ld_signal(300)
    expected = FrontEnd(SETTINGS).process(ld)
    order = np.random.default_rng(1).permutation(len(LD))
    spelled = {"T7": "EEG t3-REF", "T8": "T4", "Cz": "cz.."}
    names = ["trigger", *(spelled.get(LD[i], LD[i].lower()) for i in order), "EMG"]
    junk = np.full((300, 1), np.nan)
    shuffled = np.hstack([junk, ld[:, order], junk])
    found = FrontEnd(SETTINGS, names).process(shuffled)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("unit", "factor"), [("V", 1e-6), ("mV", 1e-3), ("µV", 1.0), ("microvolts", 1.0), ("nV", 1e3)]
)
def test_units_agree(unit, factor):
    ld = ld_signal(300)
    expected = FrontEnd(SETTINGS).process(ld)
    found = FrontEnd(SETTINGS, units=unit).process(ld * factor)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    mixed = [unit, *["uV"] * (len(LD) - 1)]
    ld[:, 0] *= factor
    np.testing.assert_allclose(FrontEnd(SETTINGS, units=mixed).process(ld), expected, atol=1e-9)


@pytest.mark.parametrize("spelling", ["-6", " Microvolts ", "UV", "μV", "\u00b5v"])
def test_spellings_of_microvolts(spelling):
    assert unit_to_uv(spelling) == 1.0


@pytest.mark.parametrize("unit", ["ohm", "", "kV"])
def test_other_units_are_refused(unit):
    with pytest.raises(SettingsError, match="--unit"):
        FrontEnd(SETTINGS, units=unit)


def test_dc_offset_makes_no_transient():
    ld = ld_signal(300)
    offsets = np.linspace(-1e5, 1e5, len(LD))
    found = FrontEnd(SETTINGS).process(ld + offsets)
    np.testing.assert_allclose(found, FrontEnd(SETTINGS).process(ld), atol=1e-7)


def test_integers_and_single_precision_are_taken():
    counts = np.round(ld_signal(300)).astype(np.int16)
    expected = FrontEnd(SETTINGS).process(counts.astype(float))
    for kind in (np.int16, np.int32, np.float32):
        found = FrontEnd(SETTINGS).process(counts.astype(kind))
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)


def test_input_is_not_written_to():
    ld = ld_signal(300)
    ld[50:, 2] = np.nan
    before = ld.copy()
    FrontEnd(SETTINGS).process(ld)
    np.testing.assert_array_equal(ld, before)


def test_what_does_not_fit_is_refused():
    with pytest.raises(MontageError, match="missing O2"):
        FrontEnd(SETTINGS, LD[:-1])
    with pytest.raises(SettingsError, match="one unit for each of the 8"):
        FrontEnd(SETTINGS, units=["uV"] * 3)
    for shape in ((10,), (10, 7), (2, 10, 8)):
        with pytest.raises(SettingsError, match=r"\(n_times, 8\)"):
            FrontEnd(SETTINGS).process(np.zeros(shape))


def test_empty_chunks_and_reset():
    stage = FrontEnd(SETTINGS)
    assert stage.process(np.zeros((0, 8))).shape == (0, 8)
    ld = ld_signal(250)
    ld[20:, 0] = np.nan
    first = stage.process(ld)
    assert stage.bad == ("Fp1",)
    stage.reset()
    assert stage.bad == ()
    np.testing.assert_array_equal(stage.process(ld), first)


def test_without_a_covariance_nothing_is_judged():
    stage = FrontEnd(replace(SETTINGS, covariance=None))
    ld = ld_signal(500)
    ld[:, 3] = 0.0
    np.testing.assert_array_equal(stage.process(ld)[:, 3], 0.0)
    assert stage.bad == ()
