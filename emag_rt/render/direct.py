"""The ``direct`` engine: the mixture equation as written, in float64.

The sum runs over every Gaussian at every lag, as in :mod:`emag_rt.core.direct`; kernel values are
kept between pushes, and terms below 1e-13 (a Gaussian far from that lag) are left out. That makes
it slow, but able to follow a live stream of a usual montage, so that the folding can be
checked where it is used.
"""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray, IndexArray, Samples
from emag_rt.core.direct import render_direct
from emag_rt.core.drive import causal_fir, reference_free
from emag_rt.core.field import GaussianField
from emag_rt.core.forward import mixture_kernel
from emag_rt.core.model import FieldModel
from emag_rt.errors import BundleError
from emag_rt.render.demand import MAX_BYTES
from emag_rt.render.hidden import HiddenStream
from emag_rt.render.history import History
from emag_rt.render.plan import RenderPlan

_BLOCK = 512
_NEGLIGIBLE = 1e-13


class DirectRenderer:
    """Sums every Gaussian at every lag for every sample: right, and slow.

    Parameters
    ----------
    plan : RenderPlan
        What to render.
    """

    name = "direct"

    def __init__(self, plan: RenderPlan) -> None:
        self._plan = plan
        self._terms = _lag_terms(plan.model, plan.positions_mm)
        self._history = History(plan.model.n_context, plan.model.n_ld)
        self._hidden = _hidden_stream(plan.model)
        self._delay = History(plan.model.look_ahead, plan.model.n_ld)
        self.reset()

    def reset(self) -> None:
        """Forget the context."""
        self._history.reset()
        if self._hidden is not None:
            self._hidden.reset()
        self._delay.reset()
        self._position = -self._plan.model.look_ahead

    def advance(self, ld: FloatArray) -> None:
        """Take samples into the context without rendering them."""
        self._delay.append(ld)
        x = self._history.append(reference_free(ld)[0])
        if self._hidden is not None and len(ld):
            self._units(x / self._plan.model.scale_uv, len(ld))
        self._position += len(ld)

    def prepare(self) -> None:
        """There is nothing to do ahead."""

    def push(self, ld: FloatArray) -> Float32Array:
        """Render; see :meth:`emag_rt.render.plan.Renderer.push`."""
        if len(ld) == 0:
            return np.zeros((0, len(self._plan.positions_mm)), dtype=np.float32)
        blocks = [self._push(ld[i : i + _BLOCK]) for i in range(0, len(ld), _BLOCK)]
        return np.concatenate(blocks)

    def _push(self, ld: FloatArray) -> Float32Array:
        n = len(ld)
        current = self._delay.append(ld)[:n]
        with_context = self._history.append(reference_free(ld)[0])
        plan = self._plan
        if plan.model.anchor == "window":
            out = render_direct(plan.model, plan.positions_mm, with_context, self._position)
        else:
            out = self._sum(with_context / plan.model.scale_uv, n)
        self._position += n
        out += current.mean(axis=1, keepdims=True)
        for row, column in plan.measured:
            out[:, row] = current[:, column]
        return out.astype(np.float32)

    def _sum(self, x: FloatArray, n: int) -> FloatArray:
        """Mixture sum of the ``stream`` anchor from features with context."""
        model = self._plan.model
        drive, hidden = model.drive, model.drive.hidden
        after = model.n_lags - model.look_ahead
        z = causal_fir(drive.taps, x[len(x) - n - model.n_lags - drive.taps.shape[1] + 2 :])
        h: Samples = np.zeros((n + after - 1, 0))
        if self._hidden is not None:
            h = self._units(x, n)
        out = np.zeros((n, len(self._plan.positions_mm)))
        for lag, (points, gaussians, kernel) in enumerate(self._terms):
            amplitudes = z[len(z) - lag - n : len(z) - lag] @ drive.readout[points, gaussians].T
            amplitudes += model.field.amplitudes[points, gaussians]
            back = lag - model.look_ahead
            if hidden is not None and back >= 0 and hidden.gains[gaussians].any():
                shared = h[len(h) - back - n : len(h) - back] @ hidden.readout.T
                amplitudes += shared[:, points] * hidden.gains[gaussians]
            out += amplitudes @ kernel.T
        return out

    def _units(self, x: FloatArray, n: int) -> Samples:
        assert self._hidden is not None
        return self._hidden.push(x[len(x) - n - self._hidden.n_lags + 1 :])


def _hidden_stream(model: FieldModel) -> HiddenStream | None:
    """For the ``stream`` anchor; the ``window`` anchor renders from its whole context."""
    hidden = model.drive.hidden
    if hidden is None or model.anchor == "window":
        return None
    n_before = model.n_lags - model.look_ahead - 1
    return HiddenStream(
        hidden.taps, hidden.layers, hidden.blocks, hidden.activation, n_before, np.float64
    )


_Term = tuple[IndexArray, IndexArray, FloatArray]


def _lag_terms(model: FieldModel, positions_mm: FloatArray) -> list[_Term]:
    """For each lag of the ``stream`` anchor: points, Gaussians, and their kernel (n_e, k)."""
    if model.anchor == "window":
        return []
    terms, kept_bytes = [], 0
    # Gaussians are at most 1; a given matrix may be in any unit.
    largest = 1.0 if model.forward is None else float(np.abs(model.forward.matrix).max())
    for tau in model.tau_s:
        near = _near_in_time(model.field, float(tau))
        part = _only(model.field, near)
        kernel = mixture_kernel(part, model.forward, positions_mm, float(tau))
        points, columns = np.nonzero(np.abs(kernel).max(axis=0) > _NEGLIGIBLE * largest)
        kept_bytes += 8 * len(points) * len(positions_mm)
        if kept_bytes > MAX_BYTES:
            raise BundleError(
                f"engine direct: the kernels of all lags must take at most {MAX_BYTES >> 20} MiB, "
                f"they take more. Take another --engine."
            )
        terms.append((points, near[columns], np.ascontiguousarray(kernel[:, points, columns])))
    return terms


def _near_in_time(field: GaussianField, tau_s: float) -> IndexArray:
    """Gaussians worth a look at ``tau_s``: all, unless space and time are apart."""
    shared = field.shared_profiles()
    if shared is None:
        return np.arange(field.n_gaussians)
    mu_s, rate = shared
    return np.flatnonzero(np.exp(-0.5 * ((tau_s - mu_s) * rate) ** 2) > _NEGLIGIBLE)


def _only(field: GaussianField, gaussians: IndexArray) -> GaussianField:
    return GaussianField(
        field.centers_mm,
        field.mu_s[:, gaussians],
        field.cholesky[:, gaussians],
        field.amplitudes[:, gaussians],
    )
