"""The field of a head nobody measured: what the population's mean expects, as Gaussians."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibration.field.placement import Gaussians, fit_gaussians, make_field
from calibration.population.estimate import (
    Places,
    Timing,
    at_lags,
    carry,
    conditional_weights,
    moments,
    own_noise,
)
from calibration.population.network import PopulationNetwork
from calibration.population.wearer import Wearer
from calibration.regression.profiles import taps
from calibration.session.segments import FILL_LAGS
from emag_rt.array_types import FloatArray
from emag_rt.bundle.tensors import MAX_FILL_INPUTS
from emag_rt.core.drive import Drive
from emag_rt.core.grid import lattice, resolution_for
from emag_rt.core.model import FieldModel

# The population's own places stand in the field as well, so that it renders anywhere; not where
# an electrode is near, for Gaussians must tell them apart.
_APART_MM = 12.0
_SAME_MM = 1e-3
_RIDGE = 1e-3


def expected_field(
    places: Places,
    timing: Timing,
    mean: FloatArray,
    wearer: Wearer,
    network: PopulationNetwork | None,
) -> tuple[FieldModel, FloatArray, FloatArray]:
    """The field, and the covariances of the LD channels in µV², at once and with lags."""
    people, n_ld = places.population, len(places.ld_mm)
    extra = _far_places(people.places.positions_mm, np.concatenate([places.hd_mm, places.ld_mm]))
    known = Places(people, places.ld_mm, np.concatenate([places.hd_mm, extra]))
    known_moments = moments(known, timing, mean, wearer.noise)
    weights = conditional_weights(known_moments)
    # LD channels render themselves, at once.
    own = np.zeros((n_ld, *weights.shape[1:]))
    own[np.arange(n_ld), timing.now, np.arange(n_ld)] = 1.0
    everything = np.concatenate([weights, own])
    flat = everything.reshape(len(everything), -1)
    inner = known_moments.zz.reshape(flat.shape[1], -1)
    gaussians = _gaussians(known, mean, flat @ inner @ flat.T)
    lags = np.arange(min(FILL_LAGS, max(1, MAX_FILL_INPUTS // n_ld))) / timing.sfreq
    lagged = _ld_covariance(places, mean, lags, wearer)
    scale_uv = np.sqrt(np.diag(lagged[0]))
    readout = np.einsum("ne,egc->ngc", gaussians.solver, everything * scale_uv, optimize=True)
    hidden = None
    if network is not None:
        hidden = network.branch(known, timing, mean, wearer.noise, scale_uv)
        # LD channels render themselves: the columns of the solver behind HD's are left out.
        solver = gaussians.solver[:, : len(known.hd_mm)]
        hidden = replace(hidden, readout=solver @ hidden.readout)
    amplitudes = np.zeros((len(gaussians.centers_mm), len(timing.bank.centers_s)))
    model = FieldModel(
        field=make_field(gaussians, timing.bank.centers_s, timing.bank.widths_s, amplitudes),
        drive=Drive(np.ones((1, 1)), readout, hidden),
        scale_uv=scale_uv,
        sfreq=timing.sfreq,
        anchor="stream",
        n_lags=timing.n_lags,
        look_ahead=timing.n_look_ahead,
    )
    return model, lagged[0], lagged


def expected_operator(places: Places, timing: Timing, mean: FloatArray, noise: float) -> FloatArray:
    """What the field does at once, without its Gaussians.

    Parameters
    ----------
    places : Places
        Worn electrodes, and those to render.
    timing : Timing
        Profiles.
    mean : ndarray, shape (n_lags, n_places, n_places)
        What is expected of the wearer at the population's places.
    noise : float
        Of an LD electrode.

    Returns
    -------
    ndarray, shape (n_lags, n_hd, n_ld)
        From LD relative to its mean to HD; an LD electrode renders itself.
    """
    weights = conditional_weights(moments(places, timing, mean, noise))
    apart = np.linalg.norm(places.hd_mm[:, None] - places.ld_mm, axis=-1)
    rows, columns = np.nonzero(apart < _SAME_MM)
    weights[rows] = 0.0
    weights[rows, timing.now, columns] = 1.0
    bank = timing.bank
    kernel = taps(bank.centers_s, bank.widths_s, timing.sfreq, timing.n_look_ahead, timing.n_lags)
    return np.einsum("gl,egc->lec", kernel, weights, optimize=True)


def _far_places(places_mm: FloatArray, known_mm: FloatArray) -> FloatArray:
    apart = np.linalg.norm(places_mm[:, None] - known_mm, axis=-1).min(axis=1)
    return places_mm[apart > _APART_MM]


def _gaussians(known: Places, mean: FloatArray, rendered: FloatArray) -> Gaussians:
    """Gaussians that follow, between electrodes, what the population expects there."""
    people = known.population
    electrodes = np.concatenate([known.hd_mm, known.ld_mm])
    inner = known.carry @ mean[0] @ known.carry.T
    size = float(np.trace(inner)) / len(inner)
    noise = own_noise(mean) * known.peculiar + _RIDGE * size
    inverse = np.linalg.inv(inner + np.diag(noise))
    origin = carry(people.places.positions_mm, known.ld_mm).mean(axis=0)

    def between(positions_mm: FloatArray) -> FloatArray:
        here = carry(people.places.positions_mm, positions_mm) - origin
        return np.asarray(here @ mean[0] @ known.carry.T @ inverse)

    grid = lattice(resolution_for(len(electrodes)), "sphere")
    return fit_gaussians(grid, electrodes, rendered, between)


def _ld_covariance(
    places: Places, mean: FloatArray, seconds: FloatArray, wearer: Wearer
) -> FloatArray:
    """Of the LD channels relative to their mean, with the wearer's scale and noise, µV²."""
    n_hd, n_ld = len(places.hd_mm), len(places.ld_mm)
    carried = places.carry[n_hd:]
    found = carried @ at_lags(mean, places.population.sfreq, seconds) @ carried.T
    noise = wearer.noise * float(np.trace(found[0])) / n_ld
    alone = own_noise(mean) * places.peculiar[n_hd:]
    centre = np.eye(n_ld) - 1.0 / n_ld
    found[0] += centre @ np.diag(alone + noise) @ centre
    return wearer.amplitude_uv**2 * found
