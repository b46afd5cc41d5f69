"""Whether LD still fits the bundle: another person's, electrodes exchanged, a cap put on anew.

Half seconds of filtered LD are only kept while samples are answered. Afterwards they become
covariances in bands, and every eight seconds the last minute's are compared with the
calibration's. Nothing that is found here ends or changes rendering.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.bundle import Bundle
from emag_rt.core.drive import reference_free
from emag_rt.core.ld_bands import BLOCK_S, band_covariances, of_unit_power, slowed
from emag_rt.core.misfit import MIN_CHANNELS, Misfit, misfit

log = logging.getLogger(__name__)

_PARTS = 4
"""Blocks of the front end in one of bands."""
_KEPT = 29
"""Blocks that are looked at together: what is wrong from the start is told within a minute."""
_EVERY = 4
_MOSTLY = 0.8
_WELL = 0.7


@dataclass(frozen=True)
class FitNews:
    """That LD does not fit, or fits again.

    Attributes
    ----------
    fits : bool
        Which of the two.
    level : float
        How badly it fits, 1 being the limit.
    text : str
        A sentence without its full stop.
    exchanged : tuple of str
        Two channels that seem to be in each other's place; empty where none are.
    """

    fits: bool
    level: float
    text: str
    exchanged: tuple[str, ...] = ()


class FitWatch:
    """Compares LD channels with the calibration's by how they predict each other.

    Parameters
    ----------
    bundle : Bundle
        Whose LD channels are expected.
    on_block : callable, optional
        Called by :meth:`judge` with two seconds of reference-free LD, shape (n_times, n_ld), at
        most 400 Hz, and which channels, shape (n_ld,), had no fault of their own throughout; not
        with the first two after a start.

    Attributes
    ----------
    level : float or None
        How badly LD fits, 1 being the limit; None while it is not known.
    unfit : bool
        Whether it was told that LD does not fit, and not that it fits again.
    """

    def __init__(
        self, bundle: Bundle, on_block: Callable[[FloatArray, BoolArray], None] | None = None
    ) -> None:
        self._on_block = on_block
        self._labels = tuple(electrode.label for electrode in bundle.manifest.ld)
        enough = len(self._labels) >= MIN_CHANNELS
        self._bands = bundle.ld_bands if enough else None
        self._sfreq = bundle.manifest.sfreq
        self.unfit = False
        self._exchanged: tuple[int, int] | None = None
        self.forget()

    def why_not(self) -> str | None:
        """Why nothing can be told with this bundle; None where it can."""
        if self._bands is not None:
            return None
        reason = f"with fewer than {MIN_CHANNELS} LD channels they tell too little of each other"
        if len(self._labels) >= MIN_CHANNELS:
            reason = "the bundle does not hold how they went together. Calibrate again for one "
            reason += "that does, or, without HD, give LD recordings"
        return f"LD channels that do not fit the bundle will not be told: {reason}"

    def forget(self) -> None:
        """Judge anew, as after a silence."""
        self.level: float | None = None
        self._next = 0
        self._parts: list[tuple[FloatArray, BoolArray]] = []
        self._ready: list[tuple[int, list[tuple[FloatArray, BoolArray]]]] = []
        self._blocks: deque[tuple[FloatArray, BoolArray]] = deque(maxlen=_KEPT)
        self._n_new = 0

    def take(self, number: int, block: FloatArray, usable: BoolArray) -> None:
        """Keep half a second; see :meth:`emag_rt.engine.upsampler.Upsampler.watch_blocks`."""
        if self._bands is None and self._on_block is None:
            return
        if number != self._next:  # the front end started anew
            self._parts = []
        self._next = number + 1
        self._parts.append((slowed(block, self._sfreq)[0], usable))
        if len(self._parts) == _PARTS:
            self._ready.append((number, self._parts))
            self._parts = []

    @property
    def n_waiting(self) -> int:
        """Calls of :meth:`judge` for which there is work."""
        return len(self._ready)

    def misfits(self) -> list[str]:
        """How LD did not fit in all that was taken; it takes a minute to tell."""
        every = [self.judge() for _ in range(self.n_waiting)]
        return [news.text for news in every if news is not None and not news.fits]

    def tell(self, most_waiting: int = 0) -> None:
        """Judge until so little is left to judge, and log what there is to tell."""
        while self.n_waiting > most_waiting:
            if (news := self.judge()) is not None:
                log.log(logging.INFO if news.fits else logging.WARNING, "%s", news.text)

    def judge(self) -> FitNews | None:
        """What there is to tell of two seconds more; mostly nothing."""
        if not self._ready:
            return None
        number, parts = self._ready.pop(0)
        samples = reference_free(np.concatenate([block for block, _ in parts]))[0]
        usable = np.all([good for _, good in parts], axis=0)
        if self._on_block is not None and number >= _PARTS:  # before, the filter settles
            self._on_block(samples, usable)
        if self._bands is None:
            return None
        sfreq = len(samples) / BLOCK_S
        found = of_unit_power(band_covariances(samples, self._bands.edges_hz, sfreq))
        if found is not None:
            self._blocks.append((found, usable))
            self._n_new += 1
        if len(self._blocks) < _KEPT or self._n_new < _EVERY:
            return None
        self._n_new = 0
        return self._compare()

    def _compare(self) -> FitNews | None:
        """Over the channels that are good most of the time, in the blocks in which all are."""
        assert self._bands is not None
        usable = np.array([good for _, good in self._blocks])
        channels = np.flatnonzero(usable.mean(axis=0) >= _MOSTLY)
        clean = np.array(usable[:, channels].all(axis=1))
        if len(channels) < MIN_CHANNELS or clean.mean() < _MOSTLY:
            self.level = None
            return None
        chosen = [block for (block, _), good in zip(self._blocks, clean, strict=True) if good]
        found = misfit(self._bands, np.mean(chosen, axis=0), len(chosen), channels)
        self.level = max(found.excess, 0.0) / found.limit
        if found.exchanged is not None:
            self.level = max(self.level, 1.0)
        if self.unfit and found.exchanged is None and self.level < _WELL:
            self.unfit, self._exchanged = False, None
            return FitNews(True, self.level, "LD fits the bundle again")
        new_pair = found.exchanged is not None and found.exchanged != self._exchanged
        if found.fits or (self.unfit and not new_pair):
            return None
        self.unfit, self._exchanged = True, found.exchanged
        return self._does_not_fit(found, self.level)

    def _does_not_fit(self, found: Misfit, level: float) -> FitNews:
        pair = tuple(self._labels[i] for i in found.exchanged or ())
        text = (
            "LD does not fit the bundle: channels do not go together as in calibration "
            f"({level:.1f} times the limit). Is this the bundle of who wears the cap, does the "
            "cap sit as then, is every electrode in its place? What is rendered may be wrong"
        )
        if pair:
            text = (
                f"LD does not fit the bundle: {' and '.join(pair)} seem to be in each other's "
                "place. Is every electrode plugged where its label says? What is rendered is wrong"
            )
        return FitNews(False, level, text, pair)
