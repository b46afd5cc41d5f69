"""A montage with a frame of its own, laid on a cap."""

import numpy as np
import pytest

from emag_rt.core.alignment import place, similarity
from emag_rt.core.montage import Montage
from emag_rt.errors import MontageError
from tests.factories import on_sphere

CAP_LABELS = ("Fp1", "Fz", "Cz", "Pz", "Oz", "C3", "C4", "F7", "F8", "T7")


@pytest.fixture
def cap():
    return Montage(CAP_LABELS, on_sphere(np.random.default_rng(0), len(CAP_LABELS)))


def turn(rng):
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return rotation * np.sign(np.linalg.det(rotation))


def test_similarity_finds_the_motion_and_never_mirrors():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(12, 3)) * 90
    rotation, shift = turn(rng), np.array([10.0, -20.0, 35.0])
    scale, found, moved, residual = similarity(points, 0.9 * points @ rotation.T + shift)
    assert scale == pytest.approx(0.9)
    np.testing.assert_allclose(found, rotation, atol=1e-12)
    np.testing.assert_allclose(moved, shift, atol=1e-9)
    assert residual.max() < 1e-9
    _, mirrored, _, left = similarity(points, points * [-1, 1, 1])
    assert np.linalg.det(mirrored) == pytest.approx(1.0)
    assert left.mean() > 20


def test_shared_labels_undo_any_turn_and_shift(cap):
    """A file with other axes and another unit of scale, and one electrode that slipped."""
    rng = np.random.default_rng(2)
    new = on_sphere(rng, 3)
    points = np.concatenate([cap.positions_mm, new])
    moved = (points - [5, 8, 40]) @ turn(rng).T * 1.1
    places = dict(zip([*CAP_LABELS, "N1", "N2", "N3"], moved, strict=True))
    places["C4"] = places["C4"] + 60.0
    found = place(places, cap, 95.0, one_system=True)
    np.testing.assert_allclose(found.montage.positions_mm[-3:], new, atol=1e-6)
    assert found.worn[:10] == (0, 1, 2, 3, 4, 5, None, 7, 8, 9)
    assert found.worn[10:] == (None, None, None)
    assert any("C4" in warning for warning in found.warnings)
    np.testing.assert_array_equal(found.montage.positions_mm[0], cap.positions_mm[0])


def test_labels_of_one_system_that_do_not_fit_are_an_error(cap):
    mirrored = dict(zip(CAP_LABELS, cap.positions_mm * [-1, 1, 1], strict=True))
    with pytest.raises(MontageError, match="mirrored"):
        place(mirrored, cap, 95.0, one_system=True)


def test_labels_of_another_maker_are_not_believed(cap):
    """The same names in other places: only what lies where the cap has it is the cap's."""
    rng = np.random.default_rng(3)
    elsewhere = on_sphere(rng, len(CAP_LABELS)) * 1.2
    elsewhere[3] = cap.positions_mm[3] * 1.2
    elsewhere[5] = cap.positions_mm[0] * 1.2  # its C3 is where the cap has Fp1
    places = dict(zip(CAP_LABELS, elsewhere + np.array([0, 0, 30]), strict=True))
    found = place(places, cap, 95.0, one_system=False)
    assert found.worn[3] == 3
    assert found.worn[5] == 0
    assert sum(row is not None for row in found.worn) == 2
    assert "sphere" in found.method
    norms = np.linalg.norm(found.montage.positions_mm, axis=1)
    np.testing.assert_allclose(norms, 95.0, rtol=1e-6)


def test_too_few_electrodes_without_shared_labels_cannot_be_placed(cap):
    with pytest.raises(MontageError, match="at least 4"):
        place({"N1": np.ones(3), "N2": -np.ones(3)}, cap, 95.0, one_system=True)
    with pytest.raises(MontageError, match="finite"):
        place({"N1": np.array([1.0, np.nan, 0.0])}, cap, 95.0, one_system=True)


def test_of_two_names_for_one_electrode_the_first_is_taken(cap):
    places = dict(zip(CAP_LABELS, cap.positions_mm, strict=True))
    found = place({**places, "T3": places["T7"]}, cap, 95.0, one_system=True)
    assert found.montage.labels == CAP_LABELS
