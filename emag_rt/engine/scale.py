"""Whether amplitudes and stamps are those of the calibration: evidence beside what is declared."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import FloatArray, Samples, Stamps
from emag_rt.bundle import Bundle
from emag_rt.core.drive import reference_free
from emag_rt.errors import StreamMismatch
from emag_rt.frontend import CausalFilter, FrontEnd

log = logging.getLogger(__name__)

_BLOCKS = 3
_MIN_STAMPS = 64
_WRONG = 5.0
# Where the wearer's amplitudes are not known: people and electrodes differ by more than that.
_WRONG_OF_OTHERS = 30.0
_UNITS = {6: "V", 3: "mV", 0: "µV", -3: "nV"}


@dataclass(frozen=True)
class WrongScale:
    """Amplitudes that cannot be the calibration's.

    Attributes
    ----------
    factor : float
        By which they are too large.
    power : int
        Power of ten nearest to it.
    unit : str
        Unit that would explain it, where one would; else empty.
    scale_uv : float
        Microvolts for each step of the values that would explain it.
    text : str
        What is wrong, in words, without the remedy.
    """

    factor: float
    power: int
    unit: str
    scale_uv: float
    text: str


class ScaleJudge:
    """Compares blocks of about a second with the calibration; says once how they stand.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject.
    declared_uv : float
        Microvolts for each step of the values, as declared.

    Attributes
    ----------
    settled : bool
        Whether it has been said: after three blocks that carry signal.
    """

    def __init__(self, bundle: Bundle, declared_uv: float) -> None:
        self._expected_uv = np.sqrt(np.maximum(np.diag(bundle.covariance), 1e-12))
        self._filter = CausalFilter(np.array(bundle.manifest.frontend.sos), len(self._expected_uv))
        self._declared_uv = declared_uv
        known = bundle.manifest.amplitudes_known
        self._wrong = _WRONG if known else _WRONG_OF_OTHERS
        self._whose = "the calibration" if known else "other people"
        self._ratios: list[float] = []
        self.settled = False

    def ratio(self, raw_uv: FloatArray) -> float:
        """Amplitude of the next block, shape (n_times, n_ld), over the calibration's."""
        filtered = reference_free(self._filter.process(raw_uv))[0]
        # The median absolute value bears blinks and loose electrodes.
        amplitude = 1.4826 * np.median(np.abs(np.nan_to_num(filtered)), axis=0)
        return float(np.median(amplitude / self._expected_uv))

    def judge(self, ratio: float) -> WrongScale | None:
        """Take in a block's ratio, over 0; wrong only if each block says so: a movement passes."""
        self._ratios.append(ratio)
        self.settled = len(self._ratios) >= _BLOCKS
        low, high = min(self._ratios), max(self._ratios)
        if not self.settled or (low <= self._wrong and high >= 1.0 / self._wrong):
            return None
        factor = low if low > self._wrong else high
        expected_uv = float(np.median(self._expected_uv))
        power = round(float(np.log10(factor)))
        text = (
            f"amplitudes must be those of {self._whose} (median {expected_uv:.3g} µV), got "
            f"{factor * expected_uv:.3g} µV, {factor:.3g} times (about 1e{power:d}): the unit or "
            "scale is not what it says"
        )
        # Tens and hundreds are no unit: only what a thousand explains is one.
        declared = float(np.log10(self._declared_uv))
        unit = _UNITS.get(round(declared) - power, "") if declared.is_integer() else ""
        return WrongScale(factor, power, unit, self._declared_uv / factor, text)


def is_still(raw: FloatArray) -> bool:
    """Whether most channels of a block, shape (n_times, n_ld), never change."""
    with np.errstate(invalid="ignore"):
        moves = np.nan_to_num(np.diff(raw, axis=0))
    return bool((~moves.any(axis=0)).mean() > 0.5)


class ScaleWatch:
    """Judges the scale of an upsampler's first seconds, before they are rendered.

    Parameters
    ----------
    bundle : Bundle
        The calibrated subject.
    frontend : FrontEnd
        Whose input is judged.
    """

    def __init__(self, bundle: Bundle, frontend: FrontEnd) -> None:
        self._frontend = frontend
        self._judge = ScaleJudge(bundle, frontend.gain_uv)
        self._n_block = max(8, round(bundle.manifest.sfreq))
        self._kept = np.zeros((0, len(bundle.manifest.ld)))
        self._refused = ""

    @property
    def settled(self) -> bool:
        """Whether all has been said; what is refused stays so."""
        return self._judge.settled and not self._refused

    def take(self, chunk: Samples, refuses: bool) -> None:
        """Take in raw samples, shape (n_times, n_inputs).

        Raises
        ------
        StreamMismatch
            If amplitudes are not the calibration's, and that is refused; else it is logged.
        """
        if self._refused:
            raise StreamMismatch(self._refused)
        if chunk.ndim != 2 or chunk.shape[1] != self._frontend.n_inputs:
            return  # the front end says what is wrong
        self._kept = np.concatenate([self._kept, self._frontend.in_uv(chunk)])
        while len(self._kept) >= self._n_block and not self.settled:
            block, self._kept = self._kept[: self._n_block], self._kept[self._n_block :]
            ratio = self._judge.ratio(block.copy())
            if is_still(block) or not ratio > 0:
                continue
            found = self._judge.judge(ratio)
            if found is None:
                continue
            unit = found.unit or f"{found.scale_uv:.3g} µV"
            text = f"{found.text}. Mend it at the source, or say it (units={unit!r})."
            if refuses:
                self._refused = text
                raise StreamMismatch(text)
            log.warning(text)
        if self.settled:
            self._kept = self._kept[:0]


class StampWatch:
    """Says once when the stamps of an upsampler's first samples contradict its rate.

    Parameters
    ----------
    sfreq : float
        Rate in Hz that the bundle renders at.
    """

    def __init__(self, sfreq: float) -> None:
        self._sfreq = sfreq
        self._first, self._n = 0.0, 0
        self.settled = False

    def take(self, stamps: Stamps) -> None:
        """Take in stamps of a chunk, shape (n_times,)."""
        if not len(stamps):
            return
        if self._n == 0:
            self._first = float(stamps[0])
        self._n += len(stamps)
        if self._n < _MIN_STAMPS:
            return
        self.settled = True
        took = float(stamps[-1]) - self._first
        if not 0.8 < took * self._sfreq / (self._n - 1) < 1.25:
            log.warning(
                "timestamps of the first %d samples span %.4g s, at the bundle's %g Hz they would "
                "span %.4g s. Are they in seconds, one for each sample, at that rate?",
                self._n,
                took,
                self._sfreq,
                (self._n - 1) / self._sfreq,
            )
