"""The signal path as an object: LD chunks in, HD chunks out; live and offline alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import Float32Array, FloatArray, Stamps
from emag_rt.bundle import Bundle, load_bundle
from emag_rt.core.alignment import Placement
from emag_rt.core.montage import Montage
from emag_rt.engine.planning import (
    expected_nmse,
    find_reference_rows,
    make_placement,
    make_plan,
    require_finite,
)
from emag_rt.errors import SettingsError
from emag_rt.frontend import FrontEnd, Jump, Lack
from emag_rt.native import FusedCall, NativeField
from emag_rt.render import Renderer, make_renderer


class Upsampler:
    """Renders HD channels from LD chunks as they come.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject.
    channels : sequence of str, optional
        Labels of the input's columns, in any order, extra ones allowed; by default the
        bundle's LD channels.
    units : str or sequence of str
        Unit of the input, or of each column.
    engine : {"auto", "native", "onnx", "packed", "torch", "direct"}
        Render engine.
    reference : str
        Reference of the output: ``input`` (the amplifier's), ``average`` (of the output
        channels), a channel label, or several joined by ``+`` (linked channels).
    measured : {"pass", "render"}
        Whether LD channels are passed through, filtered, or rendered like the others.
    montage : str, Montage or Placement, optional
        Electrodes to render instead of the bundle's: what
        :func:`emag_rt.montages.resolve.resolve_montage` takes, or a montage with positions in
        the bundle's frame. Those that the bundle's cap lacks are virtual.
    hop : int
        Render this many samples at a time; 0 renders every chunk as it comes.
    require_gpu : bool
        Fail unless rendering runs on a GPU.
    max_bad_share : float
        With more than this share of the LD channels bad, or all of them, too many are bad.
    too_many_bad : {"nan", "fill"}
        What is rendered meanwhile: NaN, good measured channels apart (with the reference
        ``input``), or what the fill makes of the rest.

    Attributes
    ----------
    labels : tuple of str
        Output channels.
    sfreq : float
        Sampling rate in Hz.
    look_ahead : int
        Samples by which the output follows the input.
    virtual : tuple of bool
        Output channels at which nobody wore an electrode in calibration.
    expected_nmse : tuple of (float or None)
        Cross-validated error of each output channel; of virtual ones, that of nearby electrodes
        when left out of calibration. None for measured channels, and where it is not known.
    unrenderable : int
        Rows so far during which too many LD channels were bad.
    on_filtered : callable or None
        Called between front end and rendering of chunks for which they are two calls.

    Examples
    --------
    >>> upsampler = Upsampler.load("s01.emag")            # doctest: +SKIP
    >>> hd, stamps = upsampler.push(ld_chunk, timestamps)  # doctest: +SKIP
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        channels: Sequence[str] | None = None,
        units: str | Sequence[str] = "microvolts",
        engine: str = "auto",
        reference: str = "input",
        measured: str = "pass",
        montage: str | Montage | Placement | None = None,
        hop: int = 0,
        require_gpu: bool = False,
        max_bad_share: float = 0.5,
        too_many_bad: str = "nan",
    ) -> None:
        if hop < 0:
            raise SettingsError(f"hop must be 0 (every chunk) or a number of samples, got {hop}.")
        if not 0 <= max_bad_share <= 1:
            raise SettingsError(f"max_bad_share must be from 0 to 1, got {max_bad_share}.")
        if too_many_bad not in ("nan", "fill"):
            raise SettingsError(f"too_many_bad must be 'nan' or 'fill', got {too_many_bad!r}.")
        self.bundle = bundle
        self.placement = make_placement(bundle, montage)
        self.montage = self.placement.montage
        self.labels = self.montage.labels
        self.virtual = tuple(row is None for row in self.placement.worn)
        self.sfreq = bundle.manifest.sfreq
        self.look_ahead = bundle.manifest.look_ahead_samples
        self.hop = hop
        self.too_many_bad = too_many_bad
        self._max_bad_share = max_bad_share
        self.unrenderable = 0
        self.plan = make_plan(bundle, self.placement, montage is None, measured)
        self.expected_nmse = expected_nmse(bundle, self.placement, self.plan)
        with np.errstate(all="ignore"):  # numbers that overflow are refused, in words
            self._renderer: Renderer = make_renderer(engine, self.plan, require_gpu)
            require_finite(self._renderer, bundle)
        self.engine = self._renderer.name
        self.on_filtered: Callable[[], None] | None = None
        self.reference = reference
        self._reference_rows = find_reference_rows(reference, self.labels)
        self.attach(channels, units)

    def attach(
        self, channels: Sequence[str] | None = None, units: str | Sequence[str] = "microvolts"
    ) -> None:
        """Read another input from now on, with a fresh state.

        Parameters
        ----------
        channels, units
            As for the class.

        Raises
        ------
        MontageError, SettingsError
            If an LD channel is missing, or a unit is not known.
        """
        settings = self.bundle.frontend_settings
        rules = replace(settings.bad_rules, max_share=self._max_bad_share)
        self._frontend = FrontEnd(replace(settings, bad_rules=rules), channels, units)
        self._fused = None
        filtering = self._frontend.native
        if filtering is not None and isinstance(self._renderer, NativeField) and not self.hop:
            self._fused = FusedCall(filtering, self._renderer)
        self.reset()

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> Upsampler:
        """Read a bundle and make an upsampler of it.

        Parameters
        ----------
        path : path-like
            An ``.emag`` file.
        **options
            As for the class.

        Returns
        -------
        Upsampler
            Ready for the first chunk.

        Raises
        ------
        BundleError
            If the bundle cannot be used.
        """
        return cls(load_bundle(path), **options)

    @property
    def bad(self) -> tuple[str, ...]:
        """LD channels that are bad now, and filled from the others."""
        return self._frontend.bad

    @property
    def bad_reasons(self) -> dict[str, str]:
        """Why each of them is bad."""
        return self._frontend.reasons

    @property
    def lacking(self) -> bool:
        """Whether too many LD channels are bad now."""
        return self._frontend.lacking

    def take_jumps(self) -> Sequence[Jump]:
        """Jumps of channels and of the reference, since the last call."""
        return self._frontend.take_jumps()

    @property
    def n_jumps(self) -> int:
        """Jumps so far, also those of channels that were bad already."""
        return self._frontend.n_jumps

    @property
    def n_inputs(self) -> int:
        """Columns of the input chunks."""
        return self._frontend.n_inputs

    @property
    def n_measured(self) -> int:
        """Output channels that are passed through."""
        return len(self.plan.measured)

    @property
    def montage_note(self) -> str:
        """How many output channels are virtual, and how they were placed, in words."""
        far = sum(v and e is None for v, e in zip(self.virtual, self.expected_nmse, strict=True))
        beyond = f", {far} of them beyond the cap or of unknown error" if far else ""
        return (
            f"{len(self.labels)} channels, {sum(self.virtual)} virtual (nobody wore them){beyond}; "
            f"{self.placement.method}"
        )

    def reset(self) -> None:
        """Forget everything, as after a long gap."""
        self._frontend.reset()
        self._renderer.reset()
        self._pending: list[tuple[FloatArray, Stamps]] = []
        self._n_pending = 0
        self._owed = np.empty(0)
        self._lacks: list[Lack] = []
        self._count = 0

    def push(
        self, ld_chunk: ArrayLike, timestamps: ArrayLike | None = None, *, skip: bool = False
    ) -> tuple[Float32Array, Stamps]:
        """Take in a chunk and give back what it completes.

        Parameters
        ----------
        ld_chunk : array_like, shape (n_times, n_inputs)
            Raw samples in the input's units.
        timestamps : array_like, shape (n_times,), optional
            Capture stamps in s; by default seconds since the first sample.
        skip : bool
            Do not render now (these samples are late): the rows they complete are NaN, but
            the state moves on as if they had been rendered.

        Returns
        -------
        hd : ndarray, shape (n_out, n_hd), float32
            µV. Each row belongs to the stamp beside it; with a look-ahead or a hop there are
            fewer rows at first, none is lost.
        timestamps : ndarray, shape (n_out,), float64
            Stamps of the LD samples the rows belong to, untouched.

        Raises
        ------
        SettingsError
            If the shapes do not fit.
        """
        chunk = np.asarray(ld_chunk)
        stamps = self._stamps(len(chunk), timestamps)
        if self._fused is not None and not skip and not self._lacks:
            at = self._frontend.plain_at()
            hd = self._fused.push(chunk, at) if at is not None else None
            if hd is not None:
                self._frontend.took(len(hd))
                hd = self._finish(hd)
                if not self.look_ahead:
                    return hd, stamps
                return self._release(hd, stamps, self._frontend.newest)
        ld = self._frontend.process(chunk)
        if self.on_filtered is not None:
            self.on_filtered()
        if self.hop:
            ld, stamps = self._whole_hops(ld, stamps)
        hd, stamps = self._render(ld, stamps, skip)
        self._withhold(hd)
        return hd, stamps

    def prepare(self) -> None:
        """Do now what the next chunk would else wait for.

        Live, call it once a chunk's rows are on their way; it changes no number.
        """
        self._frontend.settle()
        self._renderer.prepare()

    def flush(self) -> tuple[Float32Array, Stamps]:
        """Render what is still owed at the end of a stream.

        The samples a look-ahead would have waited for are taken to hold the last one.

        Returns
        -------
        hd, timestamps
            As for :meth:`push`.
        """
        ld, stamps = self._take_pending()
        hd, out_stamps = self._render(ld, stamps, False)
        if len(self._owed):
            held = np.repeat(self._last_ld, self.look_ahead, axis=0)
            rest = self._finish(self._renderer.push(held))
            hd = np.concatenate([hd, rest[-len(self._owed) :]])
            out_stamps = np.concatenate([out_stamps, self._owed])
            self._owed = np.empty(0)
        self._withhold(hd)
        return hd, out_stamps

    def _withhold(self, hd: Float32Array) -> None:
        """Take back rows, the newest that are out, of samples with too many bad channels."""
        spans = self._lacks
        spans += self._frontend.take_lacks()
        if not spans:
            return
        end = self._count - self._n_pending - len(self._owed)
        first = end - len(hd)
        for i, lack in enumerate(spans):
            bad = lack.bad
            stop = min(spans[i + 1].time if i + 1 < len(spans) else end, end) - first
            rows = hd[max(0, lack.time - first) : max(0, stop)]
            if bad is None or not len(rows):
                continue
            self.unrenderable += len(rows)
            if self.too_many_bad == "nan":
                kept = [
                    row
                    for row, column in self.plan.measured
                    if self.reference == "input" and not bad[column]
                ]
                measured = rows[:, kept]
                rows[...] = np.nan
                rows[:, kept] = measured
        while len(spans) > 1 and spans[1].time <= end:
            del spans[0]
        if spans[0].bad is None and spans[0].time <= end:
            del spans[0]

    def _stamps(self, n: int, timestamps: ArrayLike | None) -> Stamps:
        if timestamps is None:
            stamps = (self._count + np.arange(n)) / self.sfreq
        else:
            stamps = np.asarray(timestamps, dtype=np.float64)
            if stamps.shape != (n,):
                raise SettingsError(
                    f"timestamps must have shape ({n},), one for each sample, got {stamps.shape}."
                )
        self._count += n
        return stamps

    def _whole_hops(self, ld: FloatArray, stamps: Stamps) -> tuple[FloatArray, Stamps]:
        """Hold samples back until a hop is complete."""
        # A copy: a source may use the memory of its stamps again.
        self._pending.append((ld, stamps.copy()))
        self._n_pending += len(ld)
        if self._n_pending < self.hop:
            return ld[:0], stamps[:0]
        ld, stamps = self._take_pending()
        whole = len(ld) - len(ld) % self.hop
        if whole < len(ld):
            self._pending = [(ld[whole:], stamps[whole:])]
            self._n_pending = len(ld) - whole
        return ld[:whole], stamps[:whole]

    def _take_pending(self) -> tuple[FloatArray, Stamps]:
        if not self._pending:
            return np.empty((0, self.plan.operator.n_ld)), np.empty(0)
        ld = np.concatenate([part for part, _ in self._pending])
        stamps = np.concatenate([part for _, part in self._pending])
        self._pending, self._n_pending = [], 0
        return ld, stamps

    def _render(self, ld: FloatArray, stamps: Stamps, skip: bool) -> tuple[Float32Array, Stamps]:
        if not len(ld):
            return np.empty((0, len(self.labels)), dtype=np.float32), stamps
        if skip:
            self._renderer.advance(ld)
            hd = np.full((len(ld), len(self.labels)), np.nan, dtype=np.float32)
        else:
            hd = self._finish(self._renderer.push(ld))
        return self._release(hd, stamps, ld[-1:])

    def _release(
        self, hd: Float32Array, stamps: Stamps, newest_ld: FloatArray
    ) -> tuple[Float32Array, Stamps]:
        """Rows with the stamps that they belong to: with a look-ahead, earlier ones."""
        if not self.look_ahead:
            return hd, stamps
        self._last_ld = newest_ld.copy()
        owed = np.concatenate([self._owed, stamps])
        ready = max(0, len(owed) - self.look_ahead)
        self._owed = owed[ready:]
        return hd[len(hd) - ready :], owed[:ready]

    def _finish(self, hd: Float32Array) -> Float32Array:
        if self._reference_rows is not None:
            hd -= hd[:, self._reference_rows].mean(axis=1, keepdims=True)
        return hd
