"""Whether a live stream sends at the rate it declares, by the stamps of its first seconds."""

import numpy as np
import pytest

from calibration.live.rate import RateWatch
from emag_rt.errors import StreamMismatch
from emag_rt.streams.base import StreamFormat

SFREQ = 160.0
STREAM = StreamFormat("amp", "EEG", "id", SFREQ, ("Cz",), ("uV",))


def watched(stamps):
    watch = RateWatch(STREAM)
    for part in np.array_split(stamps, 50):
        watch.add(part)
    return watch


@pytest.mark.parametrize("size", [1, 2, 9, 16, 64])
def test_bursts_are_no_wrong_rate(size):
    n = 30 * 160
    stamps = 100.0 + (np.arange(n) // size + 1) * size / SFREQ + 3e-5 * (np.arange(n) % size)
    assert watched(stamps).note() is None


@pytest.mark.parametrize("rate", [80.0, 125.0, 250.0, 320.0, 2000.0])
def test_another_rate_is_refused(rate):
    with pytest.raises(StreamMismatch, match="rate must be the declared 160 Hz"):
        watched(100.0 + np.arange(4000) / rate)


def test_a_rate_that_is_a_little_off_is_told():
    assert "161.60 samples a second" in watched(100.0 + np.arange(8000) / 161.6).note()
