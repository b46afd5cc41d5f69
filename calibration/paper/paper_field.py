"""From the paper's trained model to a field that can be bundled, rendered and served."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from calibration.field.model import known_rows
from calibration.paper.lead_field import read_lead_field
from calibration.paper.paper_fit import PaperFit
from calibration.paper.training import fit_paper
from calibration.session.segments import Session
from calibration.settings.paper_options import PaperOptions
from emag_rt.array_types import FloatArray
from emag_rt.core.drive import Drive
from emag_rt.core.forward import ForwardMatrix
from emag_rt.core.grid import lattice
from emag_rt.core.model import FieldModel
from emag_rt.core.spline import spherical_spline


def fit_session(
    session: Session,
    options: PaperOptions,
    n_window: int,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[float, str], None] | None = None,
) -> tuple[PaperFit, FieldModel]:
    """Train the paper's model on a session: all good HD channels, as the paper does.

    Parameters
    ----------
    session : Session
        What to learn from.
    options : PaperOptions
        What is learned, and how.
    n_window : int
        Samples in a window.
    seed, device, progress
        See :func:`calibration.paper.training.fit_paper`.

    Returns
    -------
    fit : PaperFit
        What was learned; its outputs are the session's targets, then the LD channels.
    model : FieldModel
        The field, with the ``window`` anchor.

    Raises
    ------
    CalibrationError
        If torch is not installed, or a lead field does not fit the montage and the grid.
    """
    rows = known_rows(session)
    given: FloatArray | None = None
    if options.lead_field is not None:
        n_points = len(lattice(options.grid_resolution, options.grid_support))
        given = read_lead_field(options.lead_field, len(session.montage), n_points)
    fit = fit_paper(
        [(x, y[:, rows]) for x, y in session.segments],
        session.montage.positions_mm[rows],
        session.sfreq,
        n_window,
        options,
        lead_field=None if given is None else given[rows],
        seed=seed,
        device=device,
        progress=progress,
    )
    forward: ForwardMatrix | None = None
    positions = session.montage.positions_mm
    if given is not None:
        forward = ForwardMatrix(given[:, fit.points], positions)
    elif fit.forward is not None:
        forward = ForwardMatrix(_all_rows(fit.forward, positions, rows), positions)
    return fit, field_model(fit, session.scale_uv, forward)


def field_model(
    fit: PaperFit, scale_uv: FloatArray, forward: ForwardMatrix | None = None
) -> FieldModel:
    """Write a fit down as a field.

    Parameters
    ----------
    fit : PaperFit
        What was learned.
    scale_uv : ndarray, shape (n_ld,)
        Standard deviation of each reference-free LD channel in µV.
    forward : ForwardMatrix, optional
        The matrix in the place of the spatial kernel, at the electrodes that can be rendered.

    Returns
    -------
    FieldModel
        With the ``window`` anchor; gives the fit's own predictions.
    """
    shape = (fit.field.n_points, fit.field.n_gaussians)
    # All of the drive is the encoder's: nothing of it is linear.
    drive = Drive(np.ones((1, 1)), np.zeros((*shape, len(scale_uv))), fit.hidden)
    return FieldModel(
        field=fit.field,
        drive=drive,
        scale_uv=scale_uv,
        sfreq=fit.sfreq,
        anchor="window",
        n_window=fit.n_window,
        forward=forward,
    )


def _all_rows(matrix: FloatArray, positions_mm: FloatArray, rows: list[int]) -> FloatArray:
    """Rows for the whole montage: channels that nothing was learned of take a spline's."""
    out = np.empty((len(positions_mm), matrix.shape[1]))
    out[rows] = matrix
    rest = [i for i in range(len(out)) if i not in set(rows)]
    if rest:
        out[rest] = spherical_spline(positions_mm[rows], positions_mm[rest]) @ matrix
    return out
