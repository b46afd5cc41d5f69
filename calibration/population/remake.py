"""A bundle without HD, made again from the same heads as new LD of the wearer has it."""

from __future__ import annotations

from dataclasses import replace

from calibration.population.network import network_of
from calibration.population.no_hd import (
    Heads,
    NoHdCalibration,
    NoHdSettings,
    make_without_hd,
    remarks,
)
from calibration.population.people import Population, load_population, population_names
from calibration.population.wearer import Wearer
from calibration.provenance import adapted_from
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle
from emag_rt.errors import CalibrationError


def heads_of(bundle: Bundle, population: str | None = None) -> Heads:
    """What a bundle without HD was made of.

    Parameters
    ----------
    bundle : Bundle
        Made without HD.
    population : str, optional
        Its population's file, where that is none of the package's.

    Returns
    -------
    Heads
        To make it again.

    Raises
    ------
    CalibrationError
        If its population is not at hand.
    """
    manifest = bundle.manifest
    people, name = _population_of(bundle, population)
    settings = NoHdSettings(
        tuple(electrode.label for electrode in manifest.ld),
        "as the bundle has it",
        manifest.sfreq,
        manifest.frontend.band_hz,
        manifest.look_ahead_s,
        name,
        "network" in manifest.calibration,
    )
    network = network_of(name) if settings.refine else None
    # Of electrodes; what was told of the wearer is told anew.
    stale = {
        note
        for seconds in (0.0, 1.0)
        for note in remarks(settings, people, Wearer(people.amplitude_uv, seconds=seconds))
    }
    notes = tuple(n for n in manifest.calibration.get("notes", ()) if n not in stale)
    return Heads(settings, people, manifest.ld_montage, manifest.hd_montage, network, notes)


def remade(bundle: Bundle, heads: Heads, mean: FloatArray, wearer: Wearer) -> NoHdCalibration:
    """Make a bundle again as LD has it.

    Parameters
    ----------
    bundle : Bundle
        As it was.
    heads : Heads
        Of :func:`heads_of`.
    mean : ndarray, shape (n_lags, n_places, n_places)
        What LD lets expect at the population's places.
    wearer : Wearer
        What it tells besides.

    Returns
    -------
    NoHdCalibration
        Not yet saved.
    """
    made = make_without_hd(heads, mean, wearer)
    manifest = made.bundle.manifest
    note = adapted_from(bundle, wearer.seconds, wearer.inputs)
    update = {
        "name": bundle.manifest.name,
        "calibration": {**manifest.calibration, "adapted": note},
    }
    manifest = manifest.model_copy(update=update)
    return replace(made, bundle=replace(made.bundle, manifest=manifest))


def _population_of(bundle: Bundle, population: str | None) -> tuple[Population, str]:
    told = bundle.manifest.calibration.get("population")
    told = told if isinstance(told, dict) else {}
    name = population or str(told.get("name", ""))
    if population is None and name not in population_names():
        raise CalibrationError(
            f"the bundle was made from the population {name!r}, which is none of the package's. "
            "Name its file: emag-rt adapt --population FILE, or adapt.population in the settings "
            "of emag-rt serve."
        )
    people = load_population(name)
    if people.texts["people"] != told.get("people"):
        raise CalibrationError(
            f"--population must be the one that the bundle was made from ({told.get('name')}: "
            f"{told.get('people')}), got other people: {people.texts['people']}."
        )
    return people, name
