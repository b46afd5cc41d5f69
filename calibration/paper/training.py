"""Training the paper's model: AdamW on windows, stopped by blocks of time held out.

A step takes a few places in the window, and the samples of many windows at these places: the
encoder sees one sample at a time, so samples of a window need not come together. Windows begin
elsewhere in every epoch. The first fold's blocks of time are held out and say when to stop; the
same number of epochs is then trained from the same start on all of the session, as ridge sees
all of it once its penalty is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from calibration.paper.paper_model import PaperModel
from calibration.regression.blocks import (
    Block,
    Segment,
    check_segments,
    fold_rows,
    make_blocks,
    training_rows,
)
from calibration.settings.paper_options import PaperOptions
from emag_rt.array_types import BoolArray, FloatArray, IndexArray
from emag_rt.core.drive import HiddenBranch
from emag_rt.core.field import GaussianField
from emag_rt.core.grid import lattice
from emag_rt.errors import CalibrationError

Progress = Callable[[float, str], None]
_GUARD = 16


@dataclass(frozen=True, eq=False)
class PaperFit:
    """A trained model, as arrays.

    Attributes
    ----------
    field : GaussianField
        The mixture, in µV.
    hidden : HiddenBranch or None
        Encoder and modulator; None without conditioning.
    forward : ndarray, shape (n_out, n_points), or None
        The matrix in the place of the spatial kernel.
    points : ndarray, shape (n_points,), int
        Which points of the lattice carry Gaussians.
    sfreq : float
        Rate in Hz.
    n_window : int
        Samples in a window.
    epochs : int
        Epochs trained: the best ones on the blocks held out.
    history : tuple of float
        NMSE on the blocks held out after each epoch, the start first.
    cv_nmse : ndarray, shape (n_out,)
        Error of each output over its power on the blocks held out, which also chose the epochs.
    options : PaperOptions
        What was learned.
    """

    field: GaussianField
    hidden: HiddenBranch | None
    forward: FloatArray | None
    points: IndexArray
    sfreq: float
    n_window: int
    epochs: int
    history: tuple[float, ...]
    cv_nmse: FloatArray
    options: PaperOptions

    @property
    def converged(self) -> bool:
        """Whether patience ended training, and not the number of epochs allowed."""
        return len(self.history) - 1 - self.epochs >= self.options.patience

    @property
    def width_mm(self) -> float:
        """Median spatial width of the Gaussians' factors."""
        diagonal = self.field.cholesky[..., [0, 1, 2], [0, 1, 2]]
        return float(np.median(1 / diagonal))

    @property
    def report(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            **self.options.report(),
            "epochs_trained": self.epochs,
            "converged": self.converged,
            "validation_nmse": round(self.history[self.epochs], 6),
        }


def choose_points(options: PaperOptions, seed: int) -> IndexArray:
    """Which points of the lattice carry Gaussians, in order; by the seed."""
    n_points = len(lattice(options.grid_resolution, options.grid_support))
    n_kept = max(1, round(options.point_share * n_points))
    if n_kept == n_points:
        return np.arange(n_points)
    return np.sort(np.random.default_rng(seed).choice(n_points, n_kept, replace=False))


def fit_paper(
    segments: Sequence[Segment],
    positions_mm: FloatArray,
    sfreq: float,
    n_window: int,
    options: PaperOptions | None = None,
    *,
    lead_field: FloatArray | None = None,
    blocks: Sequence[Block] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> PaperFit:
    """Train the paper's model to convergence.

    Parameters
    ----------
    segments : sequence of (x, y)
        Features (n_times, n_ld), scaled by calibration statistics, and targets (n_times, n_out)
        in µV relative to the LD mean, as for
        :func:`calibration.baselines.ridge.fit_ridge`. Targets are divided by one
        number, their root mean square, so that the loss is the pooled NMSE.
    positions_mm : ndarray, shape (n_out, 3)
        Electrodes of the targets.
    sfreq : float
        Rate in Hz.
    n_window : int
        Samples in a window.
    options : PaperOptions, optional
        What is learned, and how.
    lead_field : ndarray, shape (n_out, n_lattice), optional
        Rows of the targets, for ``forward="lead_field"``; all points of the lattice.
    blocks : sequence of Block, optional
        The same blocks as for the model it is compared with; the first fold is held out.
    seed : int
        Initial values, order, and the subset of points.
    device : {"cpu", "cuda"}
        Where to compute.
    progress : callable, optional
        Called with the share done and what is being done.

    Returns
    -------
    PaperFit
        Plain arrays.

    Raises
    ------
    CalibrationError
        If torch is not installed, or the arguments do not fit together.
    """
    require_torch()
    options = options or PaperOptions()
    _, n_out = check_segments(segments)
    positions = np.asarray(positions_mm, dtype=np.float64)
    if positions.shape != (n_out, 3):
        raise CalibrationError(
            f"positions_mm must have shape ({n_out}, 3), one a target, got {positions.shape}."
        )
    if n_window < 2:
        raise CalibrationError(f"n_window must be at least 2 samples, got {n_window}.")
    lengths = [len(x) for x, _ in segments]
    blocks = make_blocks(lengths) if blocks is None else blocks
    held = fold_rows(lengths, blocks, 0)
    tell = progress or (lambda _share, _what: None)

    def trainer() -> _Trainer:
        return _Trainer(segments, positions, sfreq, n_window, options, lead_field, seed, device)

    first = trainer()
    history = [first.error(held)[0]]
    best, kept = 0, first.error(held)[1]
    train = training_rows(lengths, blocks, 0, _GUARD)
    for epoch in range(1, options.epochs + 1):
        first.epoch(train)
        pooled, each = first.error(held)
        history.append(pooled)
        tell(0.6 * epoch / options.epochs, f"epoch {epoch}, NMSE held out {pooled:.4f}")
        if pooled < history[best]:
            best, kept = epoch, each
        elif epoch - best >= options.patience:
            break
    final = trainer()
    for epoch in range(1, best + 1):
        final.epoch(np.ones(len(held), dtype=bool))
        tell(0.6 + 0.4 * epoch / best, f"all of the session: epoch {epoch} of {best}")
    return final.fit(tuple(history), best, kept)


def require_torch() -> None:
    """Raise a CalibrationError that says what to install, unless torch is there."""
    if find_spec("torch") is None:
        raise CalibrationError(
            "the paper's model is trained by gradient and needs torch, which is not installed: "
            "pip install 'emag-rt[calibrate]', or leave --method paper out."
        )


class _Trainer:
    """Model, optimiser and data on one device."""

    def __init__(
        self,
        segments: Sequence[Segment],
        positions_mm: FloatArray,
        sfreq: float,
        n_window: int,
        options: PaperOptions,
        lead_field: FloatArray | None,
        seed: int,
        device: str,
    ) -> None:
        import torch

        self._torch = torch
        self._options, self._sfreq, self._n_window = options, sfreq, n_window
        self._rng = np.random.default_rng(seed)
        self._points = choose_points(options, seed)
        self._lattice = lattice(options.grid_resolution, options.grid_support)
        self._model = PaperModel(
            self._lattice[self._points],
            positions_mm,
            segments[0][0].shape[1],
            sfreq,
            options,
            _columns(options, lead_field, len(positions_mm), len(self._lattice), self._points),
            self._rng,
            device,
        )
        y = np.concatenate([y for _, y in segments])
        self._scale_uv = max(float(np.sqrt((y**2).mean())), 1e-12)
        self._x = self._model.tensor(np.concatenate([x for x, _ in segments]))
        self._y = self._model.tensor(y / self._scale_uv)
        self._place = np.concatenate([np.arange(len(x)) for x, _ in segments])
        self._segment = np.repeat(np.arange(len(segments)), [len(x) for x, _ in segments])
        self._optimiser = torch.optim.AdamW(
            self._model.parameters.values(),
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
        )

    def _rows_by_place(self, rows: BoolArray, offsets: IndexArray) -> list[IndexArray]:
        """Rows that count, for each place in the window."""
        kept = np.flatnonzero(rows)
        place = (self._place[kept] + offsets[self._segment[kept]]) % self._n_window
        order = np.argsort(place, kind="stable")
        edges = np.searchsorted(place[order], np.arange(1, self._n_window))
        return np.split(kept[order], edges)

    def epoch(self, rows: BoolArray) -> None:
        """One pass over the samples that count."""
        options = self._options
        # Windows of a continuous recording may start anywhere; an epoch no longer than a window is
        # locked to its event, and shifting it would smear what the window anchor is for.
        offsets = self._rng.integers(0, self._n_window, self._segment[-1] + 1)
        offsets[np.bincount(self._segment) <= self._n_window] = 0
        by_place = [self._rng.permutation(r) for r in self._rows_by_place(rows, offsets)]
        size = min(options.batch, max(len(r) for r in by_place))
        order = self._rng.permutation(self._n_window)
        n_chunks = -(-self._n_window // options.time_chunk)
        n_batches = -(-max(len(r) for r in by_place) // size)
        for places in np.array_split(order, n_chunks):
            for k in range(n_batches):
                self._step(places, [by_place[p][k * size : (k + 1) * size] for p in places])

    def _step(self, places: IndexArray, rows: list[IndexArray]) -> None:
        torch, options = self._torch, self._options
        width = max(len(r) for r in rows)
        if width == 0:
            return
        index = np.zeros((len(rows), width), dtype=np.intp)
        counts = np.zeros((len(rows), width))
        for i, r in enumerate(rows):
            index[i, : len(r)], counts[i, : len(r)] = r, 1.0
        matrix, base = self._model.folded(places)
        rendered = base[:, None]
        where = torch.as_tensor(index, device=self._x.device)
        if matrix is not None:
            h = self._model.hidden(self._x[where])
            rendered = rendered + h @ matrix.swapaxes(1, 2)
        weight = self._model.tensor(counts)[..., None]
        error = ((rendered - self._y[where]) ** 2 * weight).sum()
        loss = error / (counts.sum() * self._y.shape[1])
        loss = loss + options.regulariser * self._model.penalty()
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._model.parameters.values(), options.clip)
        self._optimiser.step()

    def error(self, rows: BoolArray) -> tuple[float, FloatArray]:
        """NMSE over ``rows``, pooled and of each output; windows tile each segment."""
        torch = self._torch
        n_out = self._y.shape[1]
        squared = torch.zeros(n_out, dtype=torch.float64, device=self._y.device)
        power = torch.zeros_like(squared)
        by_place = self._rows_by_place(rows, np.zeros(self._segment[-1] + 1, dtype=np.intp))
        step = self._options.time_chunk
        with torch.no_grad():
            for start in range(0, self._n_window, step):
                places = np.arange(start, min(start + step, self._n_window))
                matrix, base = self._model.folded(places)
                for i, place in enumerate(places):
                    where = torch.as_tensor(by_place[place], device=self._x.device)
                    y = self._y[where]
                    rendered = base[i]
                    if matrix is not None:
                        rendered = self._model.hidden(self._x[where]) @ matrix[i].T + base[i]
                    squared += ((rendered - y).double() ** 2).sum(dim=0)
                    power += (y.double() ** 2).sum(dim=0)
        each = (squared / power.clamp_min(1e-12)).cpu().numpy()
        return float(squared.sum() / power.sum().clamp_min(1e-12)), each

    def fit(self, history: tuple[float, ...], epochs: int, cv_nmse: FloatArray) -> PaperFit:
        """What was learned, as arrays."""
        field, hidden = self._model.export(self._scale_uv)
        matrix = self._model.forward_matrix()
        return PaperFit(
            field=field,
            hidden=hidden,
            forward=None if matrix is None else matrix.detach().double().cpu().numpy(),
            points=self._points,
            sfreq=self._sfreq,
            n_window=self._n_window,
            epochs=epochs,
            history=history,
            cv_nmse=cv_nmse,
            options=self._options,
        )


def _columns(
    options: PaperOptions,
    lead_field: FloatArray | None,
    n_out: int,
    n_lattice: int,
    points: IndexArray,
) -> FloatArray | None:
    """Columns of the lead field for the points that carry Gaussians."""
    if options.forward != "lead_field":
        return None
    if lead_field is None or lead_field.shape != (n_out, n_lattice):
        found = "none" if lead_field is None else str(lead_field.shape)
        raise CalibrationError(
            f"lead_field must have shape ({n_out}, {n_lattice}), a row for each target, got "
            f"{found}."
        )
    return lead_field[:, points]
