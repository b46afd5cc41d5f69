"""What an electrode nobody wore would show, from those that were worn: kriging.

Between electrodes the field follows a Gaussian process whose covariance is learned with
electrodes left out as the guide: each target is predicted from what the fit *renders* at all
others (on blocks held out, as the field will do it live), and compared with what it truly
measured. That error has a closed form for every choice of parameters (Dubrule 1983), from second
moments alone, so the search takes about a second.

The covariance is ``s(p) s(q) k(p, q)``: ``s`` is the local scale of the signal, ``k`` a rational
quadratic (a mixture of Gaussians of all widths) with its own length along each axis, plus a
constant, which a signal relative to the LD mean needs. Each electrode's own noise, with one
variance for targets and one for LD channels, is not carried to its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from emag_rt.array_types import FloatArray
from emag_rt.errors import CalibrationError

# Logarithms of: length in mm, its ratio along x and along y (z closes the product), constant,
# own noise of targets, own noise of LD channels.
_START = np.array([np.log(60.0), 0.0, 0.0, 0.0, -4.0, -4.0])
_LOW = np.array([np.log(8.0), -1.5, -1.5, -6.0, -8.0, -8.0])
_HIGH = np.array([np.log(500.0), 1.5, 1.5, 4.0, 2.0, 2.0])
_PULL = 0.01
_STEPS = 400
_LOCAL_MM = 30.0


@dataclass(frozen=True, eq=False)
class Guide:
    """Second moments of the electrodes the field must give, targets first, then LD.

    Attributes
    ----------
    truth, cross, rendered : ndarray, shape (n_known, n_known), float64
        Mean products of measured with measured, measured (rows) with rendered, and rendered
        with rendered signals, µV². LD channels are rendered as measured.
    n_targets : int
        How many of them are targets.
    """

    truth: FloatArray
    cross: FloatArray
    rendered: FloatArray
    n_targets: int

    @classmethod
    def of(cls, truth: FloatArray, rendered: FloatArray, n_targets: int) -> Guide:
        """Moments of signals (n_times, n_known) in µV."""
        n = max(1, len(truth))
        return cls(
            truth.T @ truth / n, truth.T @ rendered / n, rendered.T @ rendered / n, n_targets
        )


@dataclass(frozen=True, eq=False)
class Kriging:
    """A covariance over the head, and what it makes of the electrodes that were worn.

    Attributes
    ----------
    positions_mm : ndarray, shape (n_known, 3)
        Electrodes that were worn.
    parameters : ndarray, shape (6,)
        Logarithms of length (mm), of its ratios along x and y, of the constant, of the own noise of
        targets and of LD channels (both over the variance of the process).
    scale_uv : ndarray, shape (n_known,)
        Standard deviation of each electrode.
    inverse : ndarray, shape (n_known, n_known)
        Of the covariance of the electrodes with their own noise, scale taken out.
    left_out_nmse : ndarray, shape (n_targets,)
        Error of each target predicted from what is rendered at all other electrodes, over its
        power.
    left_out_pooled : float
        The same, pooled over targets in µV².
    """

    positions_mm: FloatArray
    parameters: FloatArray
    scale_uv: FloatArray
    inverse: FloatArray
    left_out_nmse: FloatArray
    left_out_pooled: float

    def weights(self, positions_mm: FloatArray) -> FloatArray:
        """What each worn electrode contributes to others, shape (n_electrodes, n_known)."""
        here = local_scale(positions_mm, self.positions_mm, self.scale_uv)
        known = local_scale(self.positions_mm, self.positions_mm, self.scale_uv)
        prior = covariance(self.parameters, positions_mm, self.positions_mm)
        return np.asarray((prior @ self.inverse) * here[:, None] / known)


def covariance(parameters: FloatArray, a_mm: FloatArray, b_mm: FloatArray) -> FloatArray:
    """Covariance between two sets of places, without scale and noise, shape (n_a, n_b)."""
    length, x, y, constant = parameters[:4]
    axes = np.exp(-(length + np.array([x, y, -x - y])))
    a, b = a_mm * axes, b_mm * axes
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2.0 * a @ b.T
    return np.asarray(1.0 / (1.0 + 0.5 * np.maximum(squared, 0.0)) + np.exp(constant))


def local_scale(positions_mm: FloatArray, known_mm: FloatArray, scale_uv: FloatArray) -> FloatArray:
    """Geometric mean of the scales of nearby electrodes, shape (n_electrodes,), µV."""
    squared = ((positions_mm[:, None] - known_mm) ** 2).sum(axis=-1)
    width = max(_LOCAL_MM, spacing_mm(known_mm))
    # The nearest electrode always counts, however far it is.
    nearness = np.exp(-0.5 * (squared - squared.min(axis=1, keepdims=True)) / width**2)
    return np.asarray(np.exp(nearness @ np.log(scale_uv) / nearness.sum(axis=1)))


def spacing_mm(positions_mm: FloatArray) -> float:
    """Median distance of an electrode to its nearest neighbour, in mm."""
    distance = np.linalg.norm(positions_mm[:, None] - positions_mm, axis=-1)
    np.fill_diagonal(distance, np.inf)
    return float(np.median(distance.min(axis=1)))


def fit_kriging(positions_mm: FloatArray, guide: Guide) -> Kriging:
    """Learn the covariance with electrodes left out as the guide.

    Parameters
    ----------
    positions_mm : ndarray, shape (n_known, 3)
        Electrodes that were worn, targets first.
    guide : Guide
        Their second moments.

    Returns
    -------
    Kriging
        The covariance whose predictions of left-out targets err least; each target counts by
        its relative error.

    Raises
    ------
    CalibrationError
        If two electrodes are in one place.
    """
    distance = np.linalg.norm(positions_mm[:, None] - positions_mm, axis=-1)
    np.fill_diagonal(distance, np.inf)
    if float(distance.min()) < 1e-3:
        raise CalibrationError(
            f"electrodes must be apart, got {int((distance.min(axis=1) < 1e-3).sum())} that share "
            "a position with another. Correct the montage, or mark one of each as bad."
        )
    power = np.diag(guide.truth)
    scale = np.sqrt(np.maximum(power, 1e-12 * max(float(power.max()), 1e-300)))
    smooth = local_scale(positions_mm, positions_mm, scale)
    size = np.outer(smooth, smooth)
    even = Guide(guide.truth / size, guide.cross / size, guide.rendered / size, guide.n_targets)

    def objective(parameters: FloatArray) -> float:
        inside = np.clip(parameters, _LOW, _HIGH)
        errors = _left_out(_inverse(inside, positions_mm, guide.n_targets), even)
        mean = float(errors.sum() / np.diag(even.truth)[: guide.n_targets].sum())
        pull = float(((parameters - _START) ** 2).sum()) * _PULL / guide.n_targets
        return mean + pull

    corners = np.vstack([_START, _START + np.diag(np.where(_START > 0, -1.0, 1.0))])
    found = minimize(
        objective,
        _START,
        method="Nelder-Mead",
        options={"maxiter": _STEPS, "xatol": 0.05, "fatol": 1e-5, "initial_simplex": corners},
    )
    parameters = np.clip(np.asarray(found.x, dtype=np.float64), _LOW, _HIGH)
    inverse = _inverse(parameters, positions_mm, guide.n_targets)
    errors = _left_out(inverse, even)
    in_uv = errors * smooth[: guide.n_targets] ** 2
    target_power = np.maximum(power[: guide.n_targets], 1e-300)
    return Kriging(
        positions_mm=positions_mm,
        parameters=parameters,
        scale_uv=scale,
        inverse=inverse,
        left_out_nmse=in_uv / target_power,
        left_out_pooled=float(in_uv.sum() / target_power.sum()),
    )


def _inverse(parameters: FloatArray, positions_mm: FloatArray, n_targets: int) -> FloatArray:
    noise = np.where(np.arange(len(positions_mm)) < n_targets, parameters[4], parameters[5])
    known = covariance(parameters, positions_mm, positions_mm)
    return np.asarray(np.linalg.inv(known + np.diag(np.exp(noise))))


def _left_out(inverse: FloatArray, guide: Guide) -> FloatArray:
    """Mean squared error (n_targets,) of each target predicted from the others' renderings."""
    n = guide.n_targets
    others = (np.eye(len(inverse)) - inverse / np.diag(inverse)[:, None])[:n]
    crossed = (others * guide.cross[:n]).sum(axis=1)
    explained = ((others @ guide.rendered) * others).sum(axis=1)
    return np.asarray(np.maximum(np.diag(guide.truth)[:n] - 2.0 * crossed + explained, 0.0))
