"""A bundle in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.bundle.limits import check_fold
from emag_rt.bundle.manifest import Manifest
from emag_rt.core.cross_spectra import CrossSpectra
from emag_rt.core.folding import PackedOperator, fold
from emag_rt.core.labels import canonical
from emag_rt.core.ld_bands import HdBands, LdBands
from emag_rt.core.model import FieldModel
from emag_rt.core.output_statistics import OutputStatistics
from emag_rt.frontend import FrontEndSettings


@dataclass(frozen=True, eq=False)
class Baseline:
    """A ridge regression fitted on the same session, kept so that scores stand beside it.

    Attributes
    ----------
    weights : ndarray, shape (n_lags, n_ld, n_hd)
        From reference-free LD in units of its scale to HD in µV relative to the LD mean; lag 0
        is the newest sample waited for.
    bias : ndarray, shape (n_hd,)
        In µV.
    """

    weights: FloatArray
    bias: FloatArray


@dataclass(frozen=True, eq=False)
class Bundle:
    """A calibrated subject.

    Attributes
    ----------
    manifest : Manifest
        Montages, front end, scores, provenance.
    model : FieldModel
        The field and its drive: renders anywhere.
    operator : PackedOperator
        The field folded for the HD montage.
    covariance : ndarray, shape (n_ld, n_ld)
        Calibration covariance of the reference-free LD channels in µV².
    baselines : dict of str to Baseline
        ``ridge`` and ``lagged_ridge``.
    sha256 : str
        Hash of the file it was read from, empty when it never was one.
    lagged_covariance : ndarray, shape (n_lags, n_ld, n_ld), or None
        ``E[x(t) x(t - l)^T]`` of the same channels, for filling bad ones; None in bundles made
        before there was one, which fill from the present sample.
    statistics : OutputStatistics or None
        From the statistics of the estimate to those of a measurement; None in older bundles, and
        in fields that were not fitted in closed form.
    cross_spectra : CrossSpectra or None
        Of measured HD and of its rendering, for the HD channels that are not bad; None where
        there are no ``statistics``.
    ld_bands : LdBands or None
        How the wearer's LD channels go together, to tell whether they still do; None in older
        bundles, and where nothing of the wearer was recorded.
    hd_bands : HdBands or None
        How all channels go together, from which ``emag-rt adapt`` learns where signals come from;
        None in older bundles, and where no HD was measured.
    """

    manifest: Manifest
    model: FieldModel
    operator: PackedOperator
    covariance: FloatArray
    baselines: dict[str, Baseline] = field(default_factory=dict)
    sha256: str = ""
    lagged_covariance: FloatArray | None = None
    statistics: OutputStatistics | None = None
    cross_spectra: CrossSpectra | None = None
    ld_bands: LdBands | None = None
    hd_bands: HdBands | None = None

    @property
    def frontend_settings(self) -> FrontEndSettings:
        """Settings for :class:`emag_rt.frontend.FrontEnd`."""
        return FrontEndSettings(
            labels=tuple(e.label for e in self.manifest.ld),
            sos=np.array(self.manifest.frontend.sos),
            sfreq=self.manifest.sfreq,
            covariance=self.covariance,
            lagged_covariance=self.lagged_covariance,
        )

    def measured_rows(self, labels: tuple[str, ...]) -> list[tuple[int, int]]:
        """Pairs (output row, LD column) of output channels that are measured."""
        ld = {canonical(e.label): i for i, e in enumerate(self.manifest.ld)}
        keys = [canonical(label) for label in labels]
        return [(row, ld[key]) for row, key in enumerate(keys) if key in ld]

    def operator_at(self, positions_mm: FloatArray) -> PackedOperator:
        """Fold the field for other electrodes, shape (n_electrodes, 3) in mm."""
        check_fold(self.model, len(positions_mm))
        return fold(self.model, positions_mm)
