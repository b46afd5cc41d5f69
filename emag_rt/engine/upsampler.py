"""The signal path as an object: LD chunks in, HD chunks out; live and offline alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import BoolArray, Float32Array, FloatArray, Stamps
from emag_rt.bundle import Bundle, load_bundle
from emag_rt.core.alignment import Placement
from emag_rt.core.montage import Montage
from emag_rt.core.output_statistics import SimulatedNoise
from emag_rt.engine.fading import Fading
from emag_rt.engine.fit_watch import FitWatch
from emag_rt.engine.planning import (
    expected_nmse,
    find_reference_rows,
    find_statistics,
    make_placement,
    make_plan,
    montage_note,
    require_finite,
)
from emag_rt.engine.scale import ScaleWatch, StampWatch
from emag_rt.engine.spelling import spell_options
from emag_rt.engine.waiting import OwedRows, WholeHops
from emag_rt.engine.withholding import Withholding
from emag_rt.errors import SettingsError
from emag_rt.frontend import FrontEnd, Jump, OnBlock
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
    mismatch : {"refuse", "warn", "ignore"}
        When the first three seconds of signal are over 5 times larger or smaller than the
        calibration's: raise, log a warning, or nothing. Unless it is ``ignore``, warnings say
        as well when stamps contradict the rate, and when LD does not fit the bundle.
    too_many_bad : {"nan", "fill"}
        What is rendered meanwhile: NaN, good measured channels apart (with the reference
        ``input``), or what the fill makes of the rest.
    statistics : {"estimate", "matched", "simulated"}
        Whether rendered channels are as near as can be, have the covariance of measured ones, or
        have besides noise with what is missing then. Measured channels stay measured.
    statistics_mix : float
        How far they go there, from 0 (the estimate) to 1.
    seed : int
        Of the noise of ``simulated``.

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
    fading : Fading
        Puts another linear part into use, while rendering goes on.
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
        statistics: str = "estimate",
        statistics_mix: float = 1.0,
        seed: int = 0,
        mismatch: str = "refuse",
    ) -> None:
        if not isinstance(bundle, Bundle):
            raise SettingsError(
                f"bundle must be a Bundle, got {type(bundle).__name__}. For a file: "
                "Upsampler.load(path)."
            )
        if hop < 0:
            raise SettingsError(f"hop must be 0 (every chunk) or a number of samples, got {hop}.")
        if not 0 <= max_bad_share <= 1:
            raise SettingsError(f"max_bad_share must be from 0 to 1, got {max_bad_share}.")
        if too_many_bad not in ("nan", "fill"):
            raise SettingsError(f"too_many_bad must be 'nan' or 'fill', got {too_many_bad!r}.")
        if mismatch not in ("refuse", "warn", "ignore"):
            raise SettingsError(f"mismatch must be 'refuse', 'warn' or 'ignore', got {mismatch!r}.")
        self.mismatch = mismatch
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
        self.statistics, self.statistics_mix = statistics, statistics_mix
        known = find_statistics(bundle, self.placement, statistics, statistics_mix)
        matched = statistics_mix if known is not None else None
        if matched is not None and engine == "direct":
            raise SettingsError(
                "statistics must be estimate with engine direct, which renders the field itself, "
                f"got {statistics!r}. Use engine auto."
            )
        self.plan = make_plan(bundle, self.placement, montage is None, measured, matched)
        self.expected_nmse = expected_nmse(bundle, self.placement, self.plan)
        self._fit = FitWatch(bundle)
        self._on_block: OnBlock = self._keep_block
        self._noise: SimulatedNoise | None = None
        if known is not None:
            factor = known.error_factor(statistics, statistics_mix)
            self.expected_nmse = tuple(e and e * factor for e in self.expected_nmse)
            if statistics == "simulated":
                rows = [row for row in self.placement.worn if row is not None]
                self._noise = SimulatedNoise(known, statistics_mix, rows, seed)
        with np.errstate(all="ignore"):  # numbers that overflow are refused, in words
            self._renderer: Renderer = make_renderer(engine, self.plan, require_gpu)
            require_finite(self._renderer, bundle)
        self.engine = self._renderer.name
        self.fading = Fading(self._renderer, bundle, self.plan, self.placement, matched)
        self.on_filtered: Callable[[], None] | None = None
        self.reference = reference
        self._reference_rows = find_reference_rows(reference, self.labels)
        self._hops = WholeHops(hop, self.plan.operator.n_ld)
        self._owed = OwedRows(self.look_ahead)
        passed = self.plan.measured if reference == "input" else ()
        self._withholding = Withholding(too_many_bad, passed)
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
        self._frontend.watch_blocks(self._on_block)
        self._fused = None
        self._scale = ScaleWatch(self.bundle, self._frontend)
        self._stamp_watch = StampWatch(self.sfreq)
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

    @property
    def unrenderable(self) -> int:
        """Rows so far during which too many LD channels were bad."""
        return self._withholding.n_rows

    def watch_blocks(self, on_block: OnBlock) -> None:
        """Have every half second of filtered LD channels told, once its channels are judged.

        Parameters
        ----------
        on_block : callable
            Takes the block's number since the start, its samples, shape (n_times, n_ld), which
            are gone afterwards, and which channels, shape (n_ld,), have no fault of their own.
            Who watches judges whether LD fits the bundle; the upsampler no longer does.
        """
        self._on_block = on_block
        self._frontend.watch_blocks(on_block)

    def _keep_block(self, number: int, block: FloatArray, usable: BoolArray) -> None:
        if self.mismatch != "ignore":
            self._fit.take(number, block, usable)

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
        """How many output channels are virtual, their error, and how they were placed."""
        return montage_note(self.placement, self.virtual, self.expected_nmse)

    def reset(self) -> None:
        """Forget everything, as after a long gap."""
        self._fit.forget()
        self._frontend.reset()
        self._renderer.reset()
        self._hops.reset()
        self._owed.reset()
        self._withholding.reset()
        if self._noise is not None:
            self._noise.reset()
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
        StreamMismatch
            If the amplitudes are not the calibration's, where that is refused.
        """
        chunk = self._frontend.checked(ld_chunk)
        if not self._scale.settled and self.mismatch != "ignore":
            self._scale.take(chunk, self.mismatch == "refuse")
        stamps = self._stamps(len(chunk), timestamps)
        if not self._stamp_watch.settled and self.mismatch != "ignore":
            self._stamp_watch.take(stamps)
        self._fit.tell(1)  # prepare() does it where it is called
        if self._fused is not None and not skip and not self._withholding.lacks:
            at = self._frontend.plain_at()
            hd = self._fused.push(chunk, at) if at is not None else None
            if hd is not None:
                self._frontend.took(len(hd))
                hd = self._finish(hd)
                if not self.look_ahead:
                    return hd, stamps
                return self._owed.release(hd, stamps, self._frontend.newest)
        ld = self._frontend.process(chunk)
        if self.on_filtered is not None:
            self.on_filtered()
        ld, stamps = self._hops.add(ld, stamps)
        hd, stamps = self._render(ld, stamps, skip)
        self._take_back(hd)
        return hd, stamps

    def prepare(self) -> None:
        """Do now what the next chunk would else wait for.

        Live, call it once a chunk's rows are on their way; it changes no number.
        """
        self._frontend.settle()
        if self.fading.goes_on:
            self.fading.advance(self._count)
        self._fit.tell()
        self._renderer.prepare()
        if self._noise is not None:
            self._noise.prepare()

    def flush(self) -> tuple[Float32Array, Stamps]:
        """Render what is still owed at the end of a stream.

        The samples a look-ahead would have waited for are taken to hold the last one.

        Returns
        -------
        hd, timestamps
            As for :meth:`push`.
        """
        self._fit.tell()
        hd, stamps = self._render(*self._hops.take(), False)
        if len(self._owed):
            rest = self._finish(self._renderer.push(self._owed.held_samples()))
            rest, rest_stamps = self._owed.release_rest(rest)
            hd, stamps = np.concatenate([hd, rest]), np.concatenate([stamps, rest_stamps])
        self._take_back(hd)
        return hd, stamps

    def _take_back(self, hd: Float32Array) -> None:
        """Take back rows, the newest that are out, of samples with too many bad channels."""
        end = self._count - self._hops.n_waiting - len(self._owed)
        self._withholding.take_back(hd, end, self._frontend.take_lacks())

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

    def _render(self, ld: FloatArray, stamps: Stamps, skip: bool) -> tuple[Float32Array, Stamps]:
        if not len(ld):
            return np.empty((0, len(self.labels)), dtype=np.float32), stamps
        if skip:
            self._renderer.advance(ld)
            if self._noise is not None:
                self._noise.take(len(ld))
            hd = np.full((len(ld), len(self.labels)), np.nan, dtype=np.float32)
        else:
            hd = self._finish(self._renderer.push(ld))
        return self._owed.release(hd, stamps, ld[-1:])

    def _finish(self, hd: Float32Array) -> Float32Array:
        if self._noise is not None:
            hd += self._noise.take(len(hd)).astype(np.float32)
        if self._reference_rows is not None:
            hd -= hd[:, self._reference_rows].mean(axis=1, keepdims=True)
        return hd


spell_options(Upsampler.load, Upsampler)
