"""The paper's training loop, in torch: model, optimiser and data on one device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from calibration.paper.paper_fit import PaperFit, choose_points
from calibration.paper.paper_model import PaperModel
from calibration.regression.blocks import Segment
from calibration.settings.paper_options import PaperOptions
from emag_rt.array_types import BoolArray, FloatArray, IndexArray
from emag_rt.core.grid import lattice
from emag_rt.errors import CalibrationError


class Trainer:
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
        options = self._options
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
