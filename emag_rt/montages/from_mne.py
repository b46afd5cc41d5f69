"""Montages that MNE knows or reads, in their own frame or laid on a head's sphere."""

from __future__ import annotations

import warnings
from pathlib import Path

import mne
import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.bundle import HeadSphere
from emag_rt.core.alignment import unique_labels
from emag_rt.core.montage import Montage, fit_sphere
from emag_rt.errors import MontageError
from emag_rt.recordings.positions import template


def read_montage(name_or_path: str, head: HeadSphere) -> Montage:
    """Electrodes by the name of an MNE standard montage, or from a file of positions.

    Parameters
    ----------
    name_or_path : str
        ``standard_1005``, ``biosemi256``, ...; or a file for :func:`read_mne_montage`.
    head : HeadSphere
        Sphere of a subject.

    Returns
    -------
    Montage
        In mm, the montage's own fitted sphere laid on the subject's, as a cap would be; of labels
        that mean one electrode (T7 and T3), the first.

    Raises
    ------
    MontageError
        If neither a standard montage nor a readable file has that name.
    """
    path = Path(name_or_path)
    places = read_mne_montage(path) if path.exists() else template(name_or_path)
    labels = tuple(unique_labels(places))
    points = np.array([places[label] for label in labels])
    center, radius = fit_sphere(points)
    return Montage(labels, (points - center) * (head.radius_mm / radius))


def read_mne_montage(path: Path) -> dict[str, FloatArray]:
    """Electrodes from a file of positions.

    Parameters
    ----------
    path : Path
        A file that :func:`mne.channels.read_custom_montage` reads (``.elc``, ``.loc``, ...).

    Returns
    -------
    dict of str to ndarray, shape (3,), float64
        Position of each electrode in the file's own frame, in mm.

    Raises
    ------
    MontageError
        If MNE cannot read it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            montage = mne.channels.read_custom_montage(path)
            positions = montage.get_positions()["ch_pos"]
    except Exception as error:  # MNE raises many kinds on malformed files
        raise MontageError(
            f"montage {path}: cannot be read ({' '.join(str(error).split())}). Use a table (name x "
            "y z), JSON, or a format of mne.channels.read_custom_montage (.elc, .loc, .csd, ...)."
        ) from error
    return {name: np.asarray(place) * 1000.0 for name, place in positions.items()}
