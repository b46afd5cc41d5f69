"""A planted source is seen where it is."""

import numpy as np
import pytest

from emag_rt.errors import SettingsError
from tools.studies.simulation.forward import brain_grid, gains
from tools.studies.simulation.localise import (
    SLoreta,
    field_power,
    gain,
    in_band,
    miss,
    plant,
    ratio,
)
from tools.studies.simulation.methods import calibrate
from tools.studies.simulation.subject import make_subject


@pytest.fixture(scope="module")
def head():
    return make_subject(2, channels=32, gaussian=True, n_sources=100)


@pytest.fixture(scope="module")
def planted(head):
    background, _ = head.draw(int(30 * head.sfreq), 1)
    outward = np.array([0.6, 0.2, 0.75])
    outward /= np.linalg.norm(outward)
    place = 0.82 * head.radius_mm * outward
    return plant(head, background, place, outward, 5.0, 0)


def test_the_planted_source_has_the_strength_asked_for(head, planted):
    filtered = in_band(planted.data_uv, head.sfreq)
    filtered -= filtered.mean(axis=1, keepdims=True)
    strongest = filtered[planted.on].std(axis=0).max()
    level = np.median(filtered[~planted.on].std(axis=0))
    assert strongest / level == pytest.approx(5.0, rel=0.25)
    with pytest.raises(SettingsError, match="snr"):
        plant(head, planted.data_uv, planted.place_mm, planted.moment, 0.0, 0)


def test_sloreta_with_all_channels_finds_it(head, planted):
    filtered = in_band(planted.data_uv, head.sfreq)
    grid = brain_grid(head.head, 12.0)
    loreta = SLoreta(head.head, range(32), filtered[~planted.on], grid)
    assert miss(loreta.power(filtered, planted.on), grid, planted.place_mm).distance < 25.0


def test_the_fields_power_map_shows_it(head, planted):
    fitted = calibrate(head, planted.data_uv, range(0, 32, 3))
    session, linear, model = fitted.session, fitted.field.linear, fitted.model
    x, y = session.segments[0]
    on = planted.on[-len(x) :]
    power = field_power(model, in_band(x, head.sfreq), on)
    found = miss(power, model.field.centers_mm, planted.place_mm)
    assert found.lateral < 40.0
    # The same map from what the field renders at the electrodes it knows.
    rendered = np.hstack([linear.predict(x), y[:, list(session.ld)]])
    short_cut = gain(fitted.field.start.solver, in_band(rendered, head.sfreq), on)
    np.testing.assert_allclose(power, short_cut, atol=0.03 * np.abs(power).max())


def test_ratio_knows_which_points_light_up():
    rng = np.random.default_rng(0)
    on = np.arange(4000) % 2 == 0
    z = rng.standard_normal((4000, 3)) * np.where(on, 3.0, 1.0)[:, None] ** [0, 1, 0]
    relative = ratio(np.eye(3), z, on)
    assert relative[1] == pytest.approx(9.0, rel=0.15)
    np.testing.assert_allclose(relative[[0, 2]], 1.0, atol=0.15)
    np.testing.assert_allclose(gain(np.eye(3), z, on), [0, 8, 0], atol=1.0)


def test_a_miss_is_told_in_parts():
    places = np.array([[0.0, 0.0, 80.0], [80.0, 0.0, 0.0]])
    deeper = miss(np.array([2.0, 1.0]), places, np.array([0.0, 0.0, 50.0]))
    assert (deeper.distance, deeper.lateral, deeper.depth) == pytest.approx((30.0, 0.0, 30.0))
    aside = miss(np.array([1.0, 2.0]), places, places[0])
    assert aside.lateral == pytest.approx(80.0 * np.pi / 2)


def test_gains_refuse_places_outside_the_brain(head):
    with pytest.raises(SettingsError, match="places_mm must lie in the brain"):
        gains(head.head, [[0.0, 0.0, 95.0]])
