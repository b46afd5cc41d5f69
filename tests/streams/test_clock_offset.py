"""The clock of another host, over networks that delay each way as they like."""

import numpy as np
import pytest

from emag_rt.streams.clock_offset import ClockOffset


def wave(rng, delay_s, jitter_s, loss=0.0):
    """The quickest of eight round trips, as liblsl measures: error and round trip, in s."""
    there, back = delay_s + jitter_s * rng.random((2, 8))
    kept = rng.random(8) > loss
    if kept.sum() < 3:
        return None
    there, back = there[kept], back[kept]
    best = np.argmin(there + back)
    return (there[best] - back[best]) / 2, there[best] + back[best]


def follow(rng, seconds, delay_s, jitter_s, drift=0.0, loss=0.0, asked_s=0.05):
    """Errors of the offset that was given out, at times."""
    true = 123.0
    now, due, clock = 0.0, 0.0, None
    errors, given = [], []
    while now < seconds:
        offset = true + drift * now
        if now >= due:
            due += 2.0
            measured = wave(rng, delay_s, jitter_s, loss)
            if measured is not None and clock is None:
                clock = ClockOffset(now, offset + measured[0], measured[1])
            elif measured is not None:
                clock.observe(now, offset + measured[0], measured[1])
        if clock is not None:
            given.append(clock.at(now))
            errors.append(given[-1] - offset)
        now += asked_s
    return np.array(errors), np.array(given)


@pytest.mark.parametrize("jitter_ms", [0.0, 1.0, 5.0, 10.0])
@pytest.mark.parametrize("drift", [0.0, 3e-5])
def test_right_to_a_millisecond(jitter_ms, drift):
    """After a minute, where a single measurement is off by up to three."""
    worst = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        errors, given = follow(rng, 300.0, 0.02, jitter_ms / 1e3, drift, loss=0.05)
        worst.append(np.abs(errors[1200:]).max())
        assert np.abs(np.diff(given)).max() <= 1e-3 * 0.05 * 1.001 + 1e-12, "no jump"
    assert max(worst) < 1e-3


def test_better_than_taking_over_what_was_measured_last():
    rng = np.random.default_rng(1)
    errors, _ = follow(rng, 300.0, 0.02, 0.02)
    single = [abs(wave(rng, 0.02, 0.02)[0]) for _ in range(200)]
    assert np.abs(errors[600:]).mean() < 0.3 * np.mean(single)


def test_a_constant_difference_between_there_and_back_stays():
    """No protocol can know it; half of it is in the stamps, and documented."""
    clock = ClockOffset(0.0, 5.0 + 0.004, 0.012)
    for k in range(1, 60):
        clock.observe(2.0 * k, 5.0 + 0.004, 0.012)
    assert clock.at(120.0) == pytest.approx(5.004, abs=1e-4)


def test_a_clock_that_was_set_is_followed_and_one_stray_measurement_is_not():
    clock = ClockOffset(0.0, 5.0, 0.001)
    now = 0.0
    for _ in range(20):
        now += 2.0
        clock.observe(now, 5.0, 0.001)
        clock.at(now)
    clock.observe(now + 2.0, 5.3, 0.001)
    assert clock.at(now + 2.0) == pytest.approx(5.0, abs=1e-4)
    for k in (4.0, 6.0, 8.0):
        clock.observe(now + k, 5.3, 0.001)
    assert clock.at(now + 8.0) == pytest.approx(5.3, abs=1e-4), "at once: a jump to be marked"
    clock.observe(now + 10.0, -4000.0, 0.001)
    assert clock.at(now + 10.0) == pytest.approx(-4000.0), "another boot"
