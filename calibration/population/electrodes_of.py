"""Where LD and HD electrodes are, in the population's frame, from what the user calls them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from calibration.population.people import Population
from emag_rt.core.labels import canonical, require_unique
from emag_rt.core.montage import Montage, spread_choice
from emag_rt.errors import CalibrationError
from emag_rt.montages.from_mne import read_mne_montage
from emag_rt.montages.resolve import resolve_on_head
from emag_rt.recordings.positions import fill_from_template


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
        Labels of HD or of a template (10-05, BioSemi, EGI), ``NAME=x/y/z`` in mm, or a count to
        spread over HD.
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
        return hd.select(spread_choice(hd.positions_mm, ld))
    names = [name.partition("=")[0].strip() for name in ld]
    require_unique(names, "--ld")
    if len(names) < 2:
        raise CalibrationError(f"--ld must name at least 2 electrodes, got {', '.join(names)}.")
    known = {canonical(label): hd.positions_mm[i] for i, label in enumerate(hd.labels)}
    rest = [text for name, text in zip(names, ld, strict=True) if canonical(name) not in known]
    placed, _ = fill_from_template(rest, np.full((len(rest), 3), np.nan))
    by_template = {
        label: place for label, place in zip(rest, placed, strict=True) if np.isfinite(place).all()
    }
    if by_template:
        # Few electrodes make no sphere: the whole template would, but it is in the frame that the
        # population was measured in.
        known |= {canonical(k): p - population.origin_mm for k, p in by_template.items()}
    given = [text for text in rest if "=" in text]
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
