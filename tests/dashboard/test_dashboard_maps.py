"""Scalp maps: what the matrix draws at and between electrodes."""

from __future__ import annotations

import numpy as np
import pytest

from emag_rt.dashboard import maps
from emag_rt.dashboard.wire import HD_MAP, Drawings, pack_map, pack_samples
from tests.dashboard.conftest import HD, PLACES
from tests.factories import LD

EDGE = np.deg2rad(110)


def pixel_at(scalp, place):
    """Row of the matrix nearest to a place in the unit disc."""
    column = (place[0] / maps.MARGIN + 1) / 2 * (maps.GRID - 1)
    row = (-place[1] / maps.MARGIN + 1) / 2 * (maps.GRID - 1)
    y, x = np.divmod(scalp.pixels, maps.GRID)
    return int(np.argmin((x - column) ** 2 + (y - row) ** 2))


def test_vertex_in_the_middle_nose_up_right_ear_right():
    flat = maps.project(np.array([[0, 0, 90.0], [0, 90, 0], [90, 0, 0], [np.nan] * 3]), EDGE)
    ring = 90 / 110
    np.testing.assert_allclose(flat[:3], [[0, 0], [0, ring], [ring, 0]], atol=1e-12)
    assert np.isnan(flat[3]).all()


def test_the_edge_lies_a_little_beyond_the_cap():
    low = np.array([[90 * np.sin(a), 0, 90 * np.cos(a)] for a in np.deg2rad([0, 60, 112])])
    assert np.rad2deg(maps.edge_angle(low)) == pytest.approx(120)
    assert np.rad2deg(maps.edge_angle(low[:2])) == pytest.approx(95)
    assert np.rad2deg(maps.edge_angle(np.full((3, 3), np.nan))) == pytest.approx(95)


def test_a_constant_stays_and_each_electrode_gets_its_own_value():
    scalp = maps.scalp_map(PLACES, EDGE)
    np.testing.assert_allclose(scalp.matrix.sum(axis=1), 1.0, atol=1e-4)
    for i, place in enumerate(maps.project(PLACES, EDGE)):
        one = scalp.matrix[:, i]
        assert one[pixel_at(scalp, place)] > 0.9
    assert np.bincount(scalp.pixels).max() == 1


def test_channels_without_a_place_or_bad_are_left_out():
    places = PLACES.copy()
    places[2] = np.nan
    usable = np.ones(len(HD), bool)
    usable[5] = False
    scalp = maps.scalp_map(places, EDGE, usable)
    assert set(scalp.columns) == set(range(len(HD))) - {2, 5}


def test_too_few_electrodes_make_no_map():
    assert maps.scalp_map(PLACES[:3], EDGE) is None
    assert maps.scalp_map(np.tile(PLACES[:1], (9, 1)), EDGE) is None
    assert maps.scalp_map(np.full((9, 3), np.nan), EDGE) is None


def test_of_very_many_electrodes_some_are_drawn(monkeypatch):
    monkeypatch.setattr(maps, "MAX_ELECTRODES", 6)
    scalp = maps.scalp_map(PLACES, EDGE)
    assert scalp.matrix.shape[1] == 6
    assert scalp.columns[[0, -1]].tolist() == [0, len(HD) - 1]


def test_a_map_fades_where_it_is_expected_to_be_wrong():
    good, nmse = np.ones(len(HD), bool), np.zeros(len(HD))
    seen = lambda nmse: maps.trust(EDGE, PLACES, nmse, PLACES, good)  # noqa: E731
    scalp, place = maps.scalp_map(PLACES, EDGE), maps.project(PLACES, EDGE)[3]
    pixel, before = pixel_at(scalp, place), seen(nmse)
    assert before[pixel] == 255
    nmse[3] = 0.8
    assert seen(nmse)[pixel] < 100
    nmse[3] = np.nan
    assert seen(nmse)[pixel] == 255, "unknown: as its neighbours"
    np.testing.assert_array_equal(seen(np.full(len(HD), np.nan)), before)


def test_where_no_good_electrode_is_near_nothing_is_shown():
    scalp = maps.scalp_map(PLACES, EDGE)
    nmse, worn = np.zeros(len(HD)), PLACES[:4]
    front = pixel_at(scalp, maps.project(worn, EDGE)[0])
    one = maps.trust(EDGE, PLACES[:1], nmse[:1], PLACES[:1], np.ones(1, bool))
    assert one[front] == 255
    assert (one == 0).sum() > len(one) / 2, "far from the only electrode"
    assert maps.trust(EDGE, PLACES, nmse, worn, np.ones(4, bool))[front] == 255
    good = np.linalg.norm(worn - worn[0], axis=1) > 120.0
    assert maps.trust(EDGE, PLACES, nmse, worn, good)[front] == 0, "bad ones do not count"


def test_bytes_of_samples_and_maps():
    hd = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1.0, 2.0])
    ld = np.zeros((0, 2), np.float32), np.empty(0)
    blob = pack_samples(7, hd, ld)
    assert np.frombuffer(blob, "<u4", 4).tolist() == [1, 7, 2, 0]
    assert np.frombuffer(blob, "<f8", 2, 16).tolist() == [1.0, 2.0]
    np.testing.assert_array_equal(np.frombuffer(blob, "<f4", 6, 32).reshape(2, 3), hd[0])
    scalp = maps.scalp_map(PLACES, EDGE)
    trust = maps.trust(EDGE, PLACES, np.zeros(len(HD)), PLACES, np.ones(len(HD), bool))
    blob = pack_map(HD_MAP, 3, scalp, trust)
    n, used = scalp.matrix.shape
    assert np.frombuffer(blob, "<u4", 4).tolist() == [2, 3, n, used]
    matrix = np.frombuffer(blob, "<f4", n * used, 16 + 4 * (n + used)).reshape(n, used)
    np.testing.assert_array_equal(matrix, scalp.matrix)
    assert blob[-n:] == trust.tobytes()


def test_the_hd_map_is_made_once_a_run(daemon, monkeypatch):
    made = []
    real = maps.scalp_map
    monkeypatch.setattr(maps, "scalp_map", lambda p, *a: made.append(len(p)) or real(p, *a))
    drawings = Drawings()
    assert drawings.make(daemon.board.layout).blobs == ()
    daemon.open()
    assert len(drawings.make(daemon.board.layout).blobs) == 2
    daemon.board.event('{"event": "bad_channel", "channel": "Cz", "reason": "flat"}')
    drawing = drawings.make(daemon.board.layout)
    assert made == [0, 0, len(HD), len(LD), len(LD)]
    used = np.frombuffer(drawing.blobs[1], "<u4", 4)[3]
    assert used == len(LD) - 1
