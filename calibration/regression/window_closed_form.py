"""Closed-form start of the ``window`` anchor (the paper's): time is the place in the window.

v(t) = sum_g phi_g(p) K [a_g + A_g z(t)], p the position of t in its window, z the features seen
through a causal bank of lags (the paper's temporal encoder). It is linear in K A_g, so the same
blocked ridge gives it, on the features phi_g(p) z(t).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.regression.blocks import Segment, check_segments, make_blocks
from calibration.regression.gram_matrices import LAMBDAS, RidgePath, accumulate, cross_validate
from calibration.regression.profiles import apply_taps, candidate_banks, n_lags_of, taps
from emag_rt.array_types import FloatArray

N_PROFILES = 3


@dataclass(frozen=True, eq=False)
class WindowFit:
    """A fit in windows.

    Attributes
    ----------
    mu_s, widths_s : ndarray, shape (n_gaussians,)
        Temporal Gaussians over the window, in s.
    taps : ndarray, shape (n_taps, n_lags)
        The encoder; lag 0 is the newest sample waited for.
    weights : ndarray, shape (n_gaussians, n_taps * n_ld, n_out)
        In µV per unit of feature, tap-major.
    base : ndarray, shape (n_gaussians, n_out)
        Base values in µV.
    cv_nmse : ndarray, shape (n_out,)
        Held-out error of each output over its power.
    """

    mu_s: FloatArray
    widths_s: FloatArray
    taps: FloatArray
    weights: FloatArray
    base: FloatArray
    cv_nmse: FloatArray


def fit_window(
    segments: Sequence[Segment], sfreq: float, n_window: int, n_look_ahead: int
) -> WindowFit:
    """Fit the start of a ``window`` field.

    Parameters
    ----------
    segments : sequence of (x, y)
        As for :func:`calibration.regression.closed_form.fit_linear`.
    sfreq : float
        Sampling rate in Hz.
    n_window : int
        Samples in a window; windows tile each segment.
    n_look_ahead : int
        Samples waited for.

    Returns
    -------
    WindowFit
        Plain arrays.
    """
    n_ld, n_out = check_segments(segments)
    length_s = n_window / sfreq
    mu_s = np.linspace(0.0, length_s, N_PROFILES)
    widths_s = np.full(N_PROFILES, length_s / (N_PROFILES - 1))
    bank = candidate_banks(sfreq, n_look_ahead)[1]
    n_lags = n_lags_of(bank, sfreq, n_look_ahead)
    encoder = taps(bank.centers_s, bank.widths_s, sfreq, n_look_ahead, n_lags)
    profile = np.exp(-0.5 * ((np.arange(n_window)[:, None] / sfreq - mu_s) / widths_s) ** 2)

    def features(x: FloatArray, start: int, stop: int) -> FloatArray:
        z = apply_taps(x, encoder, n_look_ahead, start, stop).reshape(stop - start, -1)
        z = np.column_stack([z, np.ones(len(z))])
        place = profile[np.arange(start, stop) % n_window]
        return (place[:, :, None] * z[:, None, :]).reshape(len(z), -1)

    blocks = make_blocks([len(x) for x, _ in segments])
    grams = accumulate(segments, blocks, features, guard=n_lags)
    n_features = len(encoder) * n_ld + 1
    energy = np.append(np.repeat((encoder**2).sum(axis=1), n_ld), 1.0)
    growth = np.append(np.repeat(1 + np.arange(len(encoder)), n_ld), 1.0)
    penalty = np.tile(energy * growth, N_PROFILES)
    errors = cross_validate(grams, penalty)
    best = int(errors.sum(axis=1).argmin())
    path = RidgePath(grams.total, penalty)
    weights = path.weights(LAMBDAS[best : best + 1]).reshape(N_PROFILES, n_features, n_out)
    base = weights[:, -1] + path.bias(weights.reshape(-1, n_out)) / profile.sum(axis=1).mean()
    power = np.sum([gram.yy for gram in grams.splits], axis=0)
    return WindowFit(
        mu_s,
        widths_s,
        encoder,
        weights[:, :-1],
        base,
        errors[best] / np.maximum(power, np.finfo(float).tiny),
    )
