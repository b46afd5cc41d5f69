"""Whether what comes is what the stream declares: its scale, its rate, and a living amplifier.

The count of samples and the calibration's own amplitudes are evidence that no declaration can
spoil. Chunks are only kept while samples are answered; they are judged once a second, afterwards.
"""

from __future__ import annotations

import logging

import numpy as np

from emag_rt.array_types import FloatArray, Samples, Stamps
from emag_rt.bundle import Bundle
from emag_rt.core.drive import reference_free
from emag_rt.core.labels import match_labels
from emag_rt.daemon.events import Event
from emag_rt.engine.matching import RATE_TOLERANCE, InputMatch
from emag_rt.errors import StreamMismatch
from emag_rt.frontend import CausalFilter
from emag_rt.frontend.units import unit_to_uv
from emag_rt.streams.base import StreamFormat

_SCALE_BLOCKS = 3
_WRONG_SCALE = 5.0
# Where the wearer's amplitudes are not known: people and electrodes differ by more than that.
_WRONG_SCALE_OF_OTHERS = 30.0
_DEAD, _ALIVE = 0.02, 0.1
_DEAD_BLOCKS = 2
_RATE_S = 4.0  # said within five
_APART_S = 1.0
_MIN_CHUNKS = 10
_WRONG_RATE = 0.02
_UNITS = {6: "V", 3: "mV", -3: "nV"}


class InputWatch:
    """Compares a source's samples with its declaration and with the calibration.

    Parameters
    ----------
    stream : StreamFormat
        What the source says.
    match : InputMatch
        How it is read.
    bundle : Bundle
        Whose LD channels are expected.
    refuses : bool
        Whether a wrong scale or rate ends serving; else it is told.

    Attributes
    ----------
    dead : bool
        Whether every LD channel is flat, railed, or the same as all others.
    settled : bool
        Whether the scale has been judged: before, nothing is blamed on electrodes.
    """

    def __init__(
        self, stream: StreamFormat, match: InputMatch, bundle: Bundle, refuses: bool
    ) -> None:
        labels = [electrode.label for electrode in bundle.manifest.ld]
        self._who = f"stream {stream.name!r} (source_id {stream.source_id!r})"
        self._columns = match_labels(labels, match.channels, self._who)
        self._factors = np.array([unit_to_uv(match.units[i]) for i in self._columns])
        self._expected_uv = np.sqrt(np.maximum(np.diag(bundle.covariance), 1e-12))
        known = bundle.manifest.amplitudes_known
        self._wrong_scale = _WRONG_SCALE if known else _WRONG_SCALE_OF_OTHERS
        self._whose = "the calibration" if known else "other people"
        self._filter = CausalFilter(np.array(bundle.manifest.frontend.sos), len(labels))
        self._sfreq, self._n_block = stream.sfreq, max(8, round(stream.sfreq))
        self._refuses = refuses
        self._kept: list[FloatArray] = []
        self._n_kept = 0
        self._ratios: list[float] = []
        self._n_dead = 0
        self._ends: list[tuple[float, int]] = []
        self._n_counted = 0
        self._last_stamp, self._last_row = np.nan, np.zeros(len(labels))
        self._rate_judged = False
        self.dead = False
        self.settled = False

    def take(self, samples: Samples, stamps: Stamps) -> None:
        """Keep a chunk until it is judged."""
        rows = samples[:, self._columns].astype(np.float64)
        self._kept.append(rows)
        self._n_kept += len(stamps)
        if not self._rate_judged:
            self._count(stamps, rows)

    def _count(self, stamps: Stamps, rows: FloatArray) -> None:
        end = stamps.item(-1)
        before, told = self._ends[-1][0] if self._ends else end, np.isfinite(end)
        if told and abs(end - before) >= _APART_S:  # a gap, a clock that was set
            self._ends, self._n_counted = [], 0
        again = np.diff(stamps, prepend=self._last_stamp) == 0
        if again.any():  # a sample sent twice counts once
            again &= (np.diff(rows, axis=0, prepend=self._last_row[None]) == 0).all(axis=1)
        self._last_stamp, self._last_row = end, rows[-1]
        self._n_counted += len(stamps) - int(again.sum())
        # One that is no number says nothing, and one that is ahead hides what follows for a while.
        if told and (not self._ends or end >= self._ends[-1][0]):
            self._ends.append((end, self._n_counted))

    def judge(self) -> list[Event]:
        """What there is to tell; nothing but once a second.

        Raises
        ------
        StreamMismatch
            If the scale or the rate is wrong, where that is refused.
        """
        if self._n_kept < self._n_block:
            return []
        raw = np.concatenate(self._kept) * self._factors
        self._kept, self._n_kept = [], 0
        events = self._judge_life(raw)
        if not self._rate_judged:
            events += self._judge_rate()
        return events

    def _judge_life(self, raw: FloatArray) -> list[Event]:
        filtered = reference_free(self._filter.process(raw))[0]
        # The median absolute value bears blinks and loose electrodes.
        amplitude = 1.4826 * np.median(np.abs(np.nan_to_num(filtered)), axis=0)
        ratio = float(np.median(amplitude / self._expected_uv))
        with np.errstate(invalid="ignore"):
            moves = np.nan_to_num(np.diff(raw, axis=0))
        still = bool((~moves.any(axis=0)).mean() > 0.5)
        if not self.settled:
            if still or not ratio > 0:
                return self._count_dead(True)
            self._ratios.append(ratio)
            if len(self._ratios) < _SCALE_BLOCKS:
                return []
            self.settled = True
            return self._judge_scale()
        if self.dead:
            return self._count_dead(still or ratio < _ALIVE)
        return self._count_dead(still or ratio < _DEAD)

    def _count_dead(self, dead: bool) -> list[Event]:
        self._n_dead = self._n_dead + 1 if dead else 0
        if self.dead == dead or (dead and self._n_dead < _DEAD_BLOCKS):
            return []
        self.dead = dead
        if not dead:
            return [Event("amplifier_back", text="the LD channels carry signal again")]
        text = (
            "every LD channel is flat or the same as all others: no EEG comes. Is the amplifier "
            "on, the cap plugged in, the reference connected?"
        )
        return [Event("amplifier_dead", {}, text, logging.ERROR)]

    def _judge_scale(self) -> list[Event]:
        """Wrong only if each second says so: a movement may last for one."""
        low, high = min(self._ratios), max(self._ratios)
        if low <= self._wrong_scale and high >= 1.0 / self._wrong_scale:
            return []
        factor = low if low > self._wrong_scale else high
        seen_uv = factor * float(np.median(self._expected_uv))
        power = round(float(np.log10(factor)))
        # Tens and hundreds are no unit: only what a thousand explains is one.
        unit = _UNITS.get(-power)
        declared = float(np.median(self._factors))
        remedy = (
            f"--unit {unit}" if unit and declared == 1.0 else f"--scale {declared / factor:.3g}"
        )
        return self._wrong(
            "wrong_scale",
            {"factor": float(f"{factor:.3g}"), "power_of_ten": power},
            f"amplitudes must be those of {self._whose} (median "
            f"{np.median(self._expected_uv):.3g} µV), got {seen_uv:.3g} µV, {factor:.3g} times "
            f"(about 1e{power:d}): the stream's unit or scale is not what it says. Mend it at the "
            f"amplifier, or say it ({remedy}).",
        )

    def _judge_rate(self) -> list[Event]:
        """By the stamps at the ends of chunks, right also where samples come in bursts."""
        times, counts = np.array(self._ends).T
        if len(times) < _MIN_CHUNKS or not times[-1] - times[0] >= _RATE_S:
            return []
        self._rate_judged, self._ends = True, []
        apart = len(times) // 4  # what happens once is in a quarter of the spans
        spans = times[apart:] - times[:-apart]
        rates = (counts[apart:] - counts[:-apart])[spans > 0] / spans[spans > 0]
        if not len(rates):
            return []
        off = np.percentile(rates, [25, 50, 75]) / self._sfreq - 1.0
        if not (np.abs(off) > RATE_TOLERANCE).all() or off[0] * off[2] < 0:
            return []
        measured = float(np.median(rates))
        text = (
            f"rate must be the declared {self._sfreq:g} Hz, got {measured:.4g} samples a second. "
            "Set the rate of the amplifier and of its LSL outlet alike."
        )
        details = {"declared_hz": self._sfreq, "measured_hz": round(measured, 3)}
        if (np.abs(off) > _WRONG_RATE).all():
            return self._wrong("wrong_rate", details, text)
        return [Event("wrong_rate", details, f"{self._who}: {text}")]

    def _wrong(self, name: str, details: dict[str, float], text: str) -> list[Event]:
        if self._refuses:
            raise StreamMismatch(f"{self._who}: {text}")
        return [Event(name, details, f"{self._who}: {text}", logging.ERROR)]
