"""Arithmetic of the benchmarks on made-up arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_rt.bench.accounting import (
    Losses,
    account,
    growth,
    percentiles,
    ratios,
    sample_numbers,
    stage_times,
    trend,
)
from tests.factories import prop

SFREQ = 250.0


def stamps_of(*numbers, start=1000.123):
    return start + np.array(numbers) / SFREQ, start


def losses(*numbers, **options):
    stamps, start = stamps_of(*numbers)
    return account(stamps, start, SFREQ, **options)


def test_all_there():
    assert losses(0, 1, 2, 3) == Losses(4, 4)
    assert losses(0, 1, 2, 3).clean


def test_lost():
    found = losses(0, 1, 4, 5)
    assert found == Losses(sent=6, received=4, missing=2)
    assert not found.clean


def test_lost_at_the_end():
    assert losses(0, 1, 2, n_due=5) == Losses(sent=5, received=3, missing=2)


def test_beyond_the_end_does_not_count():
    assert losses(0, 1, 2, 3, 4, n_due=3) == Losses(3, 3)


def test_duplicated():
    assert losses(0, 1, 1, 2, 0) == Losses(sent=3, received=3, duplicated=2)


def test_reordered():
    assert losses(0, 2, 1, 3) == Losses(sent=4, received=4, reordered=1)


def test_repeated_and_reordered_are_told_apart():
    assert losses(0, 1, 1, 3, 2) == Losses(sent=4, received=4, duplicated=1, reordered=1)


def test_empty_rows_are_losses():
    stamps, start = stamps_of(0, 1, 2)
    found = account(stamps, start, SFREQ, empty=np.array([False, True, False]))
    assert found == Losses(3, 3, empty=1)
    assert not found.clean


def test_intervals_go_on_where_the_last_ended():
    stamps, start = stamps_of(*range(10))
    first = account(stamps[:4], start, SFREQ)
    second = account(stamps[6:], start, SFREQ, first=4)
    assert first + second == Losses(sent=10, received=8, missing=2)


@prop
@given(
    st.integers(0, 2**31),
    st.floats(1.0, 1e6),
    st.sampled_from([100.0, 250.0, 999.7, 8000.0]),
)
def test_numbers_come_back_from_stamps(first, start, sfreq):
    numbers = first % 100_000 + np.arange(50)
    assert (sample_numbers(start + numbers / sfreq, start, sfreq) == numbers).all()


def test_percentiles():
    found = percentiles(np.arange(1001.0))
    assert found == {"p50": 500.0, "p95": 950.0, "p99": 990.0, "p99_9": 999.0, "max": 1000.0}
    assert set(percentiles([]).values()) == {None}
    assert percentiles([np.nan, 2.0])["max"] == 2.0


def test_ratios_are_paired_by_round():
    def rounds(*values):
        return [percentiles([value]) for value in values]

    found = ratios(rounds(2.0, 9.0, 4.0), rounds(1.0, 3.0, 4.0))
    assert found["p50"] == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert ratios(rounds(2.0), [percentiles([])])["p99"]["median"] is None


def test_trend_of_a_line():
    hours = np.arange(10) / 60
    found = trend(3.0 + 2.0 * hours, hours)
    assert found.slope == pytest.approx(2.0)
    assert found.error == pytest.approx(0.0, abs=1e-12)


def test_trend_of_noise_is_within_its_error():
    rng = np.random.default_rng(0)
    hours = np.arange(600) / 60
    slopes = [
        (one.slope, one.error) for one in (trend(rng.normal(size=600), hours) for _ in range(50))
    ]
    beyond = sum(abs(slope) > 2 * error for slope, error in slopes)
    assert beyond <= 8


def test_trend_needs_three_points():
    assert trend([1.0, 2.0], [0.0, 1.0]).slope is None
    assert growth(np.array([1.0]), np.array([0.0])) == 0.0


def test_stages():
    chunk, n_chunks = 5, 4
    sent = 10.0 + np.arange(n_chunks) * 0.02
    log = {"sent": sent, "start": 9.0, "sfreq": SFREQ, "chunk": chunk}
    newest = np.array([4, 14, 19])  # the second pull found two chunks
    stamp = 9.0 + newest / SFREQ
    pulled = sent[newest // chunk] + 0.001
    trace = {"stamp": stamp, "pulled": pulled, "pushed": pulled + 0.006}
    trace |= {"filtered": pulled + 0.001, "rendered": pulled + 0.004}
    numbers = np.arange(20)
    receipts = np.interp(numbers, newest, pulled + 0.008)
    found = stage_times(trace, log, 9.0 + numbers / SFREQ, receipts)
    assert found["transport_in"] == pytest.approx(0.001)
    assert found["front_end"] == pytest.approx(0.001)
    assert found["render"] == pytest.approx(0.003)
    assert found["publish"] == pytest.approx(0.002)
    assert found["transport_out"] == pytest.approx(0.002)
    assert found["queue"] == pytest.approx([0.0, 0.02, 0.0])


def test_stages_without_a_renderer():
    log = {"sent": np.arange(3.0), "start": 0.0, "sfreq": 1.0, "chunk": 1}
    trace = {"stamp": np.arange(3.0), "pulled": np.arange(3) + 0.1, "pushed": np.arange(3) + 0.3}
    found = stage_times(trace, log, np.arange(3.0), np.arange(3) + 0.4)
    assert found["publish"] == pytest.approx(0.2)
    assert np.isnan(found["render"]).all()


def test_stages_with_a_look_ahead():
    log = {"sent": np.arange(5.0), "start": 0.0, "sfreq": 1.0, "chunk": 1}
    trace = {"stamp": np.arange(5.0), "pulled": np.arange(5) + 0.1, "pushed": np.arange(5) + 0.3}
    # Row n leaves when sample n + 2 is there.
    found = stage_times(trace, log, np.arange(3.0), np.arange(3) + 2.4, look_ahead=2)
    assert found["transport_out"] == pytest.approx(0.1)
    assert len(found["transport_in"]) == 3


def test_no_stage_is_negative():
    """A side notes its time after its call; the other one may have had the chunk by then."""
    log = {"sent": np.arange(2.0) + 0.15, "start": 0.0, "sfreq": 1.0, "chunk": 1}
    trace = {"stamp": np.arange(2.0), "pulled": np.arange(2) + 0.1, "pushed": np.arange(2) + 0.3}
    found = stage_times(trace, log, np.arange(2.0), np.arange(2) + 0.25)
    assert found["transport_in"] == pytest.approx(0.0)
    assert found["transport_out"] == pytest.approx(0.0)
    assert found["publish"] == pytest.approx(0.15)
