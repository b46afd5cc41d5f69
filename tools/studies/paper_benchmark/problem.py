"""What a protocol makes of a subject: segments to learn from and segments to be scored on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.regression.blocks import Segment
from emag_rt.array_types import FloatArray
from emag_rt.core.montage import Montage
from emag_rt.core.scores import band_nmse, nmse, nmse_per_channel, pcc, snr_db
from emag_rt.errors import CalibrationError
from emag_rt.recordings.read import Recording


@dataclass(frozen=True, eq=False)
class Problem:
    """A subject, ready for every method alike.

    Attributes
    ----------
    montage : Montage
        All channels.
    ld, targets : tuple of int
        Rows that are worn, and rows to render: good ones, none of them worn.
    unseen : tuple of int
        Columns of the targets that are not bridged to a worn channel.
    sfreq : float
        Rate in Hz.
    n_look_ahead : int
        Samples waited for.
    scale : ndarray, shape (n_ld,)
        A worn channel is ``x * scale`` in the targets' unit.
    train, test : tuple of (x, y)
        Inputs (n_times, n_ld), scaled, and targets (n_times, n_targets); each continuous in
        time.
    relative : bool
        Whether signals are µV relative to the mean of the worn channels.
    continuous : bool
        Whether segments are longer than windows, so that spectra make sense.
    recordings : tuple of Recording
        What ``train`` was made of, for estimators that begin there; empty where they cannot.
    notes : tuple of str
        What was left out.
    """

    montage: Montage
    ld: tuple[int, ...]
    targets: tuple[int, ...]
    unseen: tuple[int, ...]
    sfreq: float
    n_look_ahead: int
    scale: FloatArray
    train: tuple[Segment, ...]
    test: tuple[Segment, ...]
    relative: bool
    continuous: bool
    recordings: tuple[Recording, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ld_positions_mm(self) -> FloatArray:
        """Worn electrodes, shape (n_ld, 3)."""
        return self.montage.positions_mm[list(self.ld)]

    @property
    def target_positions_mm(self) -> FloatArray:
        """Electrodes to render, shape (n_targets, 3)."""
        return self.montage.positions_mm[list(self.targets)]

    @property
    def ld_labels(self) -> list[str]:
        """Names of the worn channels."""
        return [self.montage.labels[row] for row in self.ld]


def seconds(segments: Sequence[Segment], sfreq: float) -> float:
    """Length of segments in seconds."""
    return sum(len(x) for x, _ in segments) / sfreq


def score(problem: Problem, predicted: Sequence[FloatArray]) -> dict[str, object]:
    """Scores of predictions on the test segments.

    Parameters
    ----------
    problem : Problem
        The truth.
    predicted : sequence of ndarray, shape (n_times, n_targets)
        A prediction for each test segment.

    Returns
    -------
    dict
        ``unseen`` and ``all``: NMSE, PCC and SNR in dB, pooled over channels and time. Worn
        channels are measured, so in ``all`` they are passed through by every method.
        ``per_channel``: NMSE by label; ``bands_unseen`` on continuous data.

    Raises
    ------
    CalibrationError
        If a prediction has another shape than its truth, or is not finite.
    """
    for estimate, (_, y) in zip(predicted, problem.test, strict=True):
        if estimate.shape != y.shape or not np.isfinite(estimate).all():
            raise CalibrationError(
                f"a prediction must be finite and of shape {y.shape}, got {estimate.shape}, "
                f"{np.count_nonzero(~np.isfinite(estimate))} values not finite."
            )
    truth = np.concatenate([y for _, y in problem.test])
    found = np.concatenate(predicted)
    worn = np.concatenate([x for x, _ in problem.test]) * problem.scale
    unseen = list(problem.unseen)
    names = [problem.montage.labels[row] for row in problem.targets]
    errors = nmse_per_channel(truth, found)
    scores: dict[str, object] = {
        "unseen": _scores(truth[:, unseen], found[:, unseen]),
        "all": _scores(np.hstack([truth, worn]), np.hstack([found, worn])),
        "per_channel": {n: _number(e) for n, e in zip(names, errors.tolist(), strict=True)},
    }
    if problem.continuous:
        bands = band_nmse(truth[:, unseen], found[:, unseen], problem.sfreq)
        scores["bands_unseen"] = {name: _number(value) for name, value in bands.items()}
    return scores


def _scores(truth: FloatArray, found: FloatArray) -> dict[str, float | None]:
    values = {"nmse": nmse(truth, found), "pcc": pcc(truth, found), "snr_db": snr_db(truth, found)}
    return {name: _number(value) for name, value in values.items()}


def _number(value: float) -> float | None:
    """JSON knows neither NaN nor infinity."""
    return float(value) if np.isfinite(value) else None
