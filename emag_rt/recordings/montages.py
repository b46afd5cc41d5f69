"""Montages the subject never wore: standard ones and files, fitted to the subject's head."""

from __future__ import annotations

import warnings
from pathlib import Path

import mne
import numpy as np

from emag_rt.bundle import HeadSphere
from emag_rt.core.montage import Montage, fit_sphere
from emag_rt.errors import MontageError
from emag_rt.recordings.positions import template


def read_montage(name_or_path: str, head: HeadSphere) -> Montage:
    """Electrodes by the name of an MNE standard montage, or from a file of positions.

    Parameters
    ----------
    name_or_path : str
        ``standard_1005``, ``biosemi256``, ...; or a file that
        :func:`mne.channels.read_custom_montage` reads (``.sfp``, ``.elc``, ``.loc``, ...).
    head : HeadSphere
        Sphere of the subject the field was calibrated on.

    Returns
    -------
    Montage
        Positions in mm in the bundle's frame: the montage's own fitted sphere is laid on the
        subject's, as a cap would be.

    Raises
    ------
    MontageError
        If neither a standard montage nor a readable file has that name.
    """
    path = Path(name_or_path)
    places = _from_file(path) if path.exists() else template(name_or_path)
    labels = tuple(places)
    points = np.array([places[label] for label in labels])
    center, radius = fit_sphere(points)
    return Montage(labels, (points - center) * (head.radius_mm / radius))


def _from_file(path: Path) -> dict[str, np.ndarray]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            montage = mne.channels.read_custom_montage(path)
            positions = montage.get_positions()["ch_pos"]
    except Exception as error:  # MNE raises many kinds on malformed files
        raise MontageError(
            f"montage {path}: cannot be read ({' '.join(str(error).split())}). Use a format of "
            "mne.channels.read_custom_montage (.sfp, .elc, .loc, .csd, .bvef, .tsv, ...)."
        ) from error
    return {name: np.asarray(place) * 1000.0 for name, place in positions.items()}
