"""Select, convert, filter and fill LD channels: stateful, causal, the same in every chunking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import BoolArray, FloatArray, Samples
from emag_rt.core.labels import match_labels
from emag_rt.errors import SettingsError
from emag_rt.frontend.bad_channels import BadChannelMonitor, OnBlock
from emag_rt.frontend.fill import lagged_fill
from emag_rt.frontend.filters import CausalFilter
from emag_rt.frontend.jumps import Jump, JumpRemover
from emag_rt.frontend.rules import BadChannelRules
from emag_rt.frontend.units import unit_to_uv
from emag_rt.native import NativeFilter, why_not


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
    lagged_covariance : ndarray, shape (n_lags, n_ld, n_ld), float64, or None
        ``E[x(t) x(t - l)^T]`` of the same, the first being ``covariance``: bad channels are then
        filled from the last samples of the good ones as well.
    bad_rules : BadChannelRules
        When a channel counts as bad.
    """

    labels: tuple[str, ...]
    sos: FloatArray
    sfreq: float
    covariance: FloatArray | None = None
    lagged_covariance: FloatArray | None = None
    bad_rules: BadChannelRules = field(default_factory=BadChannelRules)


@dataclass(frozen=True, eq=False)
class Lack:
    """From a sample on, too many channels are bad, others than before, or no longer.

    Attributes
    ----------
    time : int
        The sample, counted from the start.
    bad : ndarray of bool, shape (n_ld,), or None
        The bad channels; None where they are not too many any longer.
    """

    time: int
    bad: BoolArray | None


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

    Attributes
    ----------
    n_jumps : int
        Jumps so far, also those of channels that were bad already.
    lacking : bool
        Whether too many channels are bad now.
    native : NativeFilter or None
        Filters plain samples in compiled code, on this object's state; None where there is none.
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
        self._remover = JumpRemover(self._filter.offset, settings.bad_rules.jump_uv)
        self._jumps: list[Jump] = []
        self.n_jumps = 0
        self._monitor = None
        self.native: NativeFilter | None = None
        if settings.covariance is not None:
            lagged = settings.lagged_covariance
            self._covariances = settings.covariance[None] if lagged is None else lagged
            self._monitor = BadChannelMonitor(
                settings.covariance, settings.sfreq, settings.bad_rules, len(self._covariances) - 1
            )
            # No filter would work with more than a block of the past.
            self._covariances = self._covariances[: self._monitor.n_before + 1]
            if not why_not():
                self.native = NativeFilter(
                    self.n_inputs,
                    columns,
                    gains,
                    sos=self._filter.sos,
                    state=self._filter.state,
                    offset=self._filter.offset,
                    last=self._filter.last,
                    raw=self._monitor.raw,
                    filtered=self._monitor.filtered,
                    rail_uv=settings.bad_rules.rail_uv,
                    jump_uv=settings.bad_rules.jump_uv,
                )
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a long gap."""
        self._filter.reset()
        self._remover.reset()
        if self._monitor is not None:
            self._monitor.reset()
        self._fill: FloatArray | None = None
        self._lacks: list[Lack] = []
        self.lacking = False

    @property
    def bad(self) -> tuple[str, ...]:
        """LD channels that are bad now, and filled from the others."""
        self.settle()
        if self._monitor is None or not self._monitor.bad.any():
            return ()
        return tuple(self.settings.labels[i] for i in np.flatnonzero(self._monitor.bad))

    @property
    def reasons(self) -> dict[str, str]:
        """Why each bad LD channel is bad."""
        if self._monitor is None:
            return {}
        pairs = zip(self.settings.labels, self._monitor.reasons, strict=True)
        return {label: reason for label, reason in pairs if reason}

    def watch_blocks(self, on_block: OnBlock | None) -> None:
        """Have every judged block told as :class:`BadChannelMonitor` says; None: none."""
        if self._monitor is not None:
            self._monitor.on_block = on_block

    def take_jumps(self) -> Sequence[Jump]:
        """Jumps of channels that were good, and of the reference, since the last call."""
        taken, self._jumps = self._jumps, []
        return taken

    def take_lacks(self) -> Sequence[Lack]:
        """Changes of which channels are too many bad ones, since the last call."""
        taken, self._lacks = self._lacks, []
        return taken

    def settle(self) -> None:
        """Judge the channels if it is time to, instead of when the next sample comes."""
        if self._monitor is not None and self._monitor.judge():
            self._refill(self._monitor)

    def plain_at(self) -> int | None:
        """Where in the block the next samples go, if filtering is all that good ones need.

        For who filters and renders in one call, and then says :meth:`took`. With all channels
        bad nothing is filled either, but they are lacking.

        Returns
        -------
        int or None
            A row; None if :meth:`process` must have the samples.
        """
        monitor = self._monitor
        if monitor is None or not self._filter.all_started:
            return None
        self.settle()
        return monitor.filled if self._fill is None and not self.lacking else None

    def took(self, n_times: int) -> None:
        """So many samples went through :attr:`native`."""
        assert self._monitor is not None
        self._monitor.took(n_times)

    @property
    def newest(self) -> FloatArray:
        """The newest filtered sample since the last verdict, shape (1, n_ld)."""
        assert self._monitor is not None
        return self._monitor.filtered[self._monitor.filled - 1 : self._monitor.filled]

    def checked(self, chunk: ArrayLike) -> Samples:
        """A chunk as an array.

        Raises
        ------
        SettingsError
            If it holds no numbers, or not one column for each input channel.
        """
        raw = np.asarray(chunk)
        if raw.ndim != 2 or raw.shape[1] != self.n_inputs or raw.dtype.kind not in "fiub":
            turned = raw.ndim == 2 and raw.shape[0] == self.n_inputs
            raise SettingsError(
                f"chunk must be numbers of shape (n_times, {self.n_inputs}), got "
                f"{raw.dtype.name} of shape {raw.shape}."
                + (" It is turned around: give chunk.T." if turned else "")
            )
        return raw

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
        raw = self.checked(chunk)
        monitor = self._monitor
        if monitor is None or not len(raw):
            return self._filter.process(self.in_uv(raw))
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

    @property
    def gain_uv(self) -> float:
        """Microvolts for each step of the values: the median over the LD channels."""
        return 1.0 if self._gains is None else float(np.median(self._gains))

    def in_uv(self, chunk: Samples) -> FloatArray:
        """LD channels of raw samples, shape (n_times, n_ld), in µV, not filtered."""
        raw = chunk.astype(np.float64, copy=False)
        if self._columns is not None:
            raw = raw[:, self._columns]
        return raw if self._gains is None else raw * self._gains

    def _piece(self, chunk: Samples, monitor: BadChannelMonitor) -> FloatArray:
        if self.native is not None and self._filter.all_started:
            filtered = self.native.process(chunk, monitor.filled)
            if filtered is not None:
                monitor.took(len(filtered))
                return self._filled(filtered, monitor)
        return self._careful(self.in_uv(chunk), monitor)

    def _careful(self, raw: FloatArray, monitor: BadChannelMonitor) -> FloatArray:
        """Samples that may hold anything, cut where the set of bad channels changes."""
        # One comparison finds NaN, infinity and rails alike.
        broken = ~(np.abs(raw) <= monitor.rail_uv)
        if broken.any():
            raw = np.where(broken, np.nan, raw)
        if broken.any() or not self._filter.all_started:
            raw = self._filter.repair(raw)
        before = np.concatenate([self._filter.last[None], raw[:-1]])
        jumped = np.abs(raw - before) > self.settings.bad_rules.jump_uv
        if not (broken.any() or jumped.any()):
            return self._run(raw, monitor)
        # A channel is filled from its first broken sample on: runs end where another breaks.
        so_far = np.maximum.accumulate(broken, axis=0)
        new = (so_far[1:] != so_far[:-1]).any(axis=1) | jumped[1:].any(axis=1)
        runs = []
        for start, stop in pairwise([0, *(1 + np.flatnonzero(new)), len(raw)]):
            if jumped[start].any():
                self._jump(raw[start], before[start], monitor)
            if monitor.break_now(so_far[start]):
                self._refill(monitor)
            runs.append(self._run(raw[start:stop], monitor))
        return np.concatenate(runs)

    def _jump(self, now: FloatArray, last: FloatArray, monitor: BadChannelMonitor) -> None:
        """Take a jump out; an electrode that jumps is not believed until it has been quiet."""
        common, own = self._remover.take_out(now, last)
        for moved, told in ((common, True), (own, bool((own & ~monitor.bad).any()))):
            if not moved.any():
                continue
            self.n_jumps += 1
            if told:
                labels = tuple(self.settings.labels[i] for i in np.flatnonzero(moved))
                size_uv = float(np.abs(now - last)[moved].max())
                self._jumps.append(Jump(labels, size_uv, moved is common))
        if monitor.break_now(own, "jumped"):
            self._refill(monitor)

    def _run(self, raw: FloatArray, monitor: BadChannelMonitor) -> FloatArray:
        """Samples with one set of bad channels throughout."""
        filtered = self._filter.process(raw)
        monitor.add(raw, filtered)
        return self._filled(filtered, monitor)

    def _filled(self, filtered: FloatArray, monitor: BadChannelMonitor) -> FloatArray:
        if self._fill is None:
            return filtered
        out = filtered.copy()
        out[:, monitor.bad] = monitor.windows(len(filtered)) @ self._fill
        return out

    def _refill(self, monitor: BadChannelMonitor) -> None:
        bad = monitor.bad
        self._fill = None
        if bad.any() and not bad.all():
            matrices = lagged_fill(self._covariances, bad)
            # As the windows hold it: oldest sample first, all channels of a sample together.
            fill = np.zeros((len(matrices), len(bad), int(bad.sum())))
            fill[:, ~bad] = np.swapaxes(matrices[::-1], 1, 2)
            self._fill = fill.reshape(-1, fill.shape[2])
        if monitor.lacking or self.lacking:
            self.lacking = monitor.lacking
            self._lacks.append(Lack(monitor.time, bad.copy() if self.lacking else None))
