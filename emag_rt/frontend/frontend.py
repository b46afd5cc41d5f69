"""Select, convert, filter and fill LD channels: stateful, causal, the same in every chunking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emag_rt.core.labels import match_labels
from emag_rt.errors import SettingsError
from emag_rt.frontend.bad_channels import BadChannelMonitor, BadChannelRules, fill_matrix
from emag_rt.frontend.compiled import NativeFilter, make_native
from emag_rt.frontend.filters import CausalFilter
from emag_rt.frontend.units import unit_to_uv

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrontEndSettings:
    """What the front end needs to know; travels in the bundle.

    Attributes
    ----------
    labels : tuple of str
        LD channels, in the order of the model.
    sos : ndarray, shape (n_sections, 6), float64
        Filter, started at the steady state of the first sample.
    sfreq : float
        Sampling rate in Hz.
    covariance : ndarray, shape (n_ld, n_ld), float64, or None
        Calibration covariance of the filtered, reference-free LD channels in µV²; None (during
        calibration, which makes it) switches the finding and filling of bad channels off.
    bad_rules : BadChannelRules
        When a channel counts as bad.
    """

    labels: tuple[str, ...]
    sos: FloatArray
    sfreq: float
    covariance: FloatArray | None = None
    bad_rules: BadChannelRules = field(default_factory=BadChannelRules)


class FrontEnd:
    """From raw input chunks to filtered, filled LD channels in µV.

    Parameters
    ----------
    settings : FrontEndSettings
        From the bundle.
    channels : sequence of str, optional
        Labels of the input's columns, in any order, extra ones allowed; by default exactly the
        LD channels of the bundle.
    units : str or sequence of str
        Unit of the input, or of each of its columns ('V', 'mV', 'microvolts', ...).

    Raises
    ------
    MontageError
        If an LD channel is missing from ``channels`` or matches twice.
    SettingsError
        If a unit is not known.
    """

    def __init__(
        self,
        settings: FrontEndSettings,
        channels: Sequence[str] | None = None,
        units: str | Sequence[str] = "microvolts",
    ) -> None:
        names = tuple(channels) if channels is not None else settings.labels
        columns = match_labels(settings.labels, names, "input stream")
        by_column = [units] * len(names) if isinstance(units, str) else list(units)
        if len(by_column) != len(names):
            raise SettingsError(
                f"units must name one unit for each of the {len(names)} channels, "
                f"got {len(by_column)}."
            )
        self.settings = settings
        self.n_inputs = len(names)
        self._columns = None if columns == list(range(len(names))) else np.array(columns)
        gains = np.array([unit_to_uv(by_column[c]) for c in columns])
        self._gains = None if (gains == 1.0).all() else gains
        self._filter = CausalFilter(settings.sos, len(columns))
        self._monitor = None
        self._native: NativeFilter | None = None
        if settings.covariance is not None:
            self._monitor = BadChannelMonitor(
                settings.covariance, settings.sfreq, settings.bad_rules
            )
            self._native = make_native(self._filter, self._monitor, self.n_inputs, columns, gains)
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a long gap."""
        self._filter.reset()
        if self._monitor is not None:
            self._monitor.reset()
        self._fill: FloatArray | None = None

    @property
    def bad(self) -> tuple[str, ...]:
        """LD channels that are bad now, and filled from the others."""
        self.settle()
        if self._monitor is None or not self._monitor.bad.any():
            return ()
        return tuple(self.settings.labels[i] for i in np.flatnonzero(self._monitor.bad))

    def settle(self) -> None:
        """Judge the channels if it is time to, instead of when the next sample comes."""
        if self._monitor is not None and self._monitor.judge():
            self._refill(self._monitor)

    def plain(self, n_times: int) -> NativeFilter | None:
        """The compiled filter, if that is all that so many samples need if they are good.

        For engines that filter and render in one call.
        """
        monitor = self._monitor
        if monitor is None or not self._filter.all_started:
            return None
        if not monitor.room:
            self.settle()
        return self._native if self._fill is None and n_times <= monitor.room else None

    @property
    def newest(self) -> FloatArray:
        """The newest filtered sample since the last verdict, shape (1, n_ld)."""
        assert self._monitor is not None
        return self._monitor.filtered[self._monitor.filled - 1 : self._monitor.filled]

    def process(self, chunk: ArrayLike) -> FloatArray:
        """Take in a chunk.

        Parameters
        ----------
        chunk : array_like, shape (n_times, n_inputs)
            Raw samples in the input's units.

        Returns
        -------
        ndarray, shape (n_times, n_ld), float64
            Filtered LD channels in µV, in the input's reference, bad ones filled.

        Raises
        ------
        SettingsError
            If the chunk does not have one column for each input channel.
        """
        raw = np.asarray(chunk)
        if raw.ndim != 2 or raw.shape[1] != self.n_inputs:
            raise SettingsError(
                f"chunk must have shape (n_times, {self.n_inputs}), got {raw.shape}."
            )
        monitor = self._monitor
        if monitor is None or not len(raw):
            return self._filter.process(self._select(raw))
        self.settle()
        if len(raw) <= monitor.room:
            return self._piece(raw, monitor)
        # Verdicts fall at the ends of blocks counted in samples, so chunks are cut there.
        pieces, start = [], 0
        while start < len(raw):
            self.settle()
            stop = start + monitor.room
            pieces.append(self._piece(raw[start:stop], monitor))
            start = stop
        return np.concatenate(pieces)

    def _select(self, chunk: NDArray[Any]) -> FloatArray:
        """LD channels in µV."""
        raw = chunk.astype(np.float64, copy=False)
        if self._columns is not None:
            raw = raw[:, self._columns]
        return raw if self._gains is None else raw * self._gains

    def _piece(self, chunk: NDArray[Any], monitor: BadChannelMonitor) -> FloatArray:
        if self._native is not None and self._filter.all_started:
            filtered = self._native.process(chunk)
            if filtered is not None:
                return self._filled(filtered, monitor)
        raw = self._select(chunk)
        rail_uv = self.settings.bad_rules.rail_uv
        # One pass finds NaN, infinity and rails alike.
        if np.abs(raw).max() <= rail_uv:
            return self._run(raw, monitor)
        broken = ~(np.abs(raw) <= rail_uv)
        raw = np.where(broken, np.nan, raw)
        so_far = np.maximum.accumulate(broken, axis=0)
        # A channel is filled from its first broken sample on: runs end where another breaks.
        cuts = 1 + np.flatnonzero((so_far[1:] != so_far[:-1]).any(axis=1))
        runs = []
        for start, stop in pairwise([0, *cuts, len(raw)]):
            if monitor.break_now(so_far[start]):
                self._refill(monitor)
            runs.append(self._run(raw[start:stop], monitor))
        return np.concatenate(runs)

    def _run(self, raw: FloatArray, monitor: BadChannelMonitor) -> FloatArray:
        """Samples with one set of bad channels throughout."""
        filtered = self._filter.process(raw)
        monitor.add(raw, filtered)
        return self._filled(filtered, monitor)

    def _filled(self, filtered: FloatArray, monitor: BadChannelMonitor) -> FloatArray:
        if self._fill is None:
            return filtered
        bad = monitor.bad
        out = filtered.copy()
        out[:, bad] = filtered[:, ~bad] @ self._fill.T
        return out

    def _refill(self, monitor: BadChannelMonitor) -> None:
        bad = monitor.bad
        self._fill = None
        if bad.any() and not bad.all():
            assert self.settings.covariance is not None
            self._fill = fill_matrix(self.settings.covariance, bad)
