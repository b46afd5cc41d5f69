"""Where LD and HD electrodes are, in the population's frame, from what the user calls them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration.population.best_places import best_places
from calibration.population.people import Population
from emag_rt.core.labels import canonical, require_unique
from emag_rt.core.montage import Montage
from emag_rt.errors import CalibrationError
from emag_rt.montages.from_mne import read_mne_montage
from emag_rt.montages.resolve import resolve_on_head
from emag_rt.recordings.positions import fill_from_template

# Caps put an electrode of one name up to here from where another has it.
_SAME_LABEL_MM = 30.0


def hd_montage(text: str, population: Population) -> tuple[Montage, tuple[str, ...]]:
    """Electrodes to render, and what the user should know.

    Parameters
    ----------
    text : str
        A standard montage, a file of positions, or names with commas (see
        :func:`emag_rt.montages.resolve.resolve_montage`); ``cap`` is the population's places.
    population : Population
        Whose frame counts. Electrodes of the 10-05 system belong where the system has them,
        wherever a file puts them: the population is known by place on the head, not in mm.

    Returns
    -------
    montage : Montage
        In the population's frame.
    notes : tuple of str
        Of the alignment.

    Raises
    ------
    MontageError
        If it is none of these.
    """
    found = resolve_on_head(text, population.places, population.radius_mm, read_mne_montage)
    return found.montage, found.warnings


def ld_montage(ld: int | Sequence[str], hd: Montage, population: Population) -> Montage:
    """Electrodes that are worn.

    Parameters
    ----------
    ld : int or sequence of str
        Labels of HD or of a template (10-05, BioSemi, EGI), ``NAME=x/y/z`` in mm, or a count
        of the best ones of HD for the population.
    hd : Montage
        Electrodes to render.
    population : Population
        Whose frame counts.

    Returns
    -------
    Montage
        In the population's frame.

    Raises
    ------
    CalibrationError
        If a label is not known, or there are too few or too many.
    """
    if isinstance(ld, int):
        if not 2 <= ld < len(hd):
            raise CalibrationError(
                f"--ld must be from 2 to {len(hd) - 1} (one fewer than --hd), got {ld}."
            )
        return hd.select(best_places(ld, hd, population))
    names = [name.partition("=")[0].strip() for name in ld]
    require_unique(names, "--ld")
    if len(names) < 2:
        raise CalibrationError(f"--ld must name at least 2 electrodes, got {', '.join(names)}.")
    known = {canonical(label): hd.positions_mm[i] for i, label in enumerate(hd.labels)}
    if not all(canonical(name) in known for name in names):
        # Not the cap's own names: BioSemi's C3 is not that of the 10-05 system.
        placed, _ = fill_from_template(names, np.full((len(names), 3), np.nan))
        for name, place in zip(names, placed - population.origin_mm, strict=True):
            own = known.get(canonical(name), np.full(3, np.inf))
            if np.isfinite(place).all() and np.linalg.norm(own - place) > _SAME_LABEL_MM:
                known[canonical(name)] = place
    given = [text for text in ld if "=" in text]
    if given:
        found = resolve_on_head(",".join(given), population.places, population.radius_mm).montage
        known |= dict(zip(map(canonical, found.labels), found.positions_mm, strict=True))
    unknown = [name for name in names if canonical(name) not in known]
    if unknown:
        raise CalibrationError(
            f"--ld must name electrodes of --hd or of a system whose places are known (10-05, "
            f"BioSemi, EGI), got {', '.join(unknown)}. Say where they are: NAME=x/y/z in mm, or "
            "name them in the file of positions that --hd takes."
        )
    return Montage(tuple(names), np.array([known[canonical(name)] for name in names]))


def apart_by_name(hd: Montage, ld: Montage) -> tuple[Montage, list[str]]:
    """HD with other names for electrodes that have the name of a worn one but not its place.

    Parameters
    ----------
    hd, ld : Montage
        Electrodes in one frame.

    Returns
    -------
    montage : Montage
        ``C3`` of a cap with names of its own becomes ``C3-hd`` where the C3 of the 10-05 system is
        worn: by name it would be taken for measured.
    notes : list of str
        What was renamed.
    """
    worn = {
        canonical(label): place for label, place in zip(ld.labels, ld.positions_mm, strict=True)
    }
    labels, renamed = [], []
    for label, place in zip(hd.labels, hd.positions_mm, strict=True):
        other = worn.get(canonical(label))
        if other is not None and np.linalg.norm(place - other) > _SAME_LABEL_MM:
            renamed.append(label)
            label += "-hd"
        labels.append(label)
    if not renamed:
        return hd, []
    note = (
        f"--hd has {', '.join(renamed[:8])}{' and more' * (len(renamed) > 8)} in other places than "
    )
    return Montage(tuple(labels), hd.positions_mm), [
        f"{note}the worn electrodes of that name: rendered as {renamed[0]}-hd and so on"
    ]
