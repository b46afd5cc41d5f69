"""Spectra of the newest seconds: bands, mains, and the bytes that browsers get."""

from __future__ import annotations

import numpy as np
import pytest

from emag_rt.core.scores import BANDS_HZ
from emag_rt.dashboard.spectra import RecentRows, Spectra, spectra
from emag_rt.dashboard.wire import SPECTRA, pack_spectra

SFREQ = 200.0
T = np.arange(800) / SFREQ


def sine(hz, uv_rms):
    return np.sqrt(2.0) * uv_rms * np.sin(2 * np.pi * hz * T)


def test_each_band_has_the_strength_of_its_rhythm():
    rows = np.column_stack([sine(10.0, 12.0) + 1e5, sine(20.0, 3.0)])
    bands = spectra(rows.astype(np.float32), SFREQ).band_uv()
    alpha, beta = list(BANDS_HZ).index("alpha"), list(BANDS_HZ).index("beta")
    assert bands[alpha, 0] == pytest.approx(12.0, rel=0.02), "an offset of 100 mV is no rhythm"
    assert bands[beta, 1] == pytest.approx(3.0, rel=0.02)
    assert bands[beta, 0] < 0.1


@pytest.mark.parametrize("hz", [50.0, 60.0])
def test_the_mains_are_told_by_what_stands_out(hz):
    noise = np.random.default_rng(0).normal(0.0, 5.0, (len(T), 6))
    assert spectra(noise.astype(np.float32), SFREQ).mains()[0] == 0.0
    noise[:, :5] += sine(hz, 4.0)[:, None]
    found, uv = spectra(noise.astype(np.float32), SFREQ).mains()
    assert found == hz
    assert np.median(uv[:5]) == pytest.approx(4.0, rel=0.25)
    assert uv[5] < 2.0


def test_a_rate_too_low_or_a_missing_number_tells_nothing():
    rows = np.tile(sine(10.0, 5.0)[:, None], (1, 2)).astype(np.float32)
    rows[400, 1] = np.nan
    found = spectra(rows, 100.0)
    assert found.mains()[0] == 0.0
    assert np.isfinite(found.power[0]).all()
    assert np.isnan(found.band_uv()[:, 1]).all()
    assert spectra(rows[:100], SFREQ) is None


def test_only_the_newest_rows_are_kept():
    recent = RecentRows(1, 10.0)
    for n in (3, 500, 1, 20, 7):
        recent.add(np.arange(n, dtype=np.float64)[:, None])
    assert recent.rows()[:, 0].tolist() == [*range(488, 500), 0, *range(20), *range(7)]


def test_bytes_of_spectra():
    hd = Spectra(np.arange(3) * 0.5, np.array([[1.0, 100.0, np.nan], [0.0, 1e-2, 1e9]]))
    ld = Spectra(np.arange(4) * 0.5, np.ones((1, 4)))
    blob = pack_spectra(7, hd, ld)
    n_bands = len(BANDS_HZ)
    assert np.frombuffer(blob, "<u4", 7).tolist() == [SPECTRA, 7, 2, 1, 3, 4, n_bands]
    mains_hz, every_hz = np.frombuffer(blob, "<f4", 2, 28)
    assert (mains_hz, every_hz) == (0.0, 0.5)
    levels = np.frombuffer(blob, np.uint8, -1, 28 + 4 * (2 + 1 + 3 * n_bands))
    assert levels.tolist() == [80, 120, 255, 0, 40, 254, 80, 80, 80, 80]
