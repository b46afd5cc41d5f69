"""Whether what comes is what the stream declares: its scale, its rate, and a living amplifier.

The count of samples and the calibration's own amplitudes are evidence that no declaration can
spoil. Chunks are only kept while samples are answered; they are judged once a second, afterwards.
"""

from __future__ import annotations

import logging

import numpy as np

from emag_rt.array_types import FloatArray, Samples, Stamps
from emag_rt.bundle import Bundle
from emag_rt.core.labels import match_labels
from emag_rt.daemon.events import Event
from emag_rt.engine.matching import RATE_TOLERANCE, InputMatch
from emag_rt.engine.scale import ScaleJudge, WrongScale, is_still
from emag_rt.errors import SettingsError, StreamMismatch
from emag_rt.frontend.units import unit_to_uv
from emag_rt.streams.base import StreamFormat

_DEAD, _ALIVE = 0.02, 0.1
_DEAD_BLOCKS = 2
_RATE_S = 4.0  # said within five
_APART_S = 1.0
_MIN_CHUNKS = 10
_WRONG_RATE = 0.02


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
    """

    def __init__(
        self, stream: StreamFormat, match: InputMatch, bundle: Bundle, refuses: bool
    ) -> None:
        labels = [electrode.label for electrode in bundle.manifest.ld]
        self._who = f"stream {stream.name!r} (source_id {stream.source_id!r})"
        self._columns = match_labels(labels, match.channels, self._who)
        self._match = match
        self._factors = np.array([unit_to_uv(match.units[i]) for i in self._columns])
        self._scale = ScaleJudge(bundle, float(np.median(self._factors)))
        self._sfreq, self._n_block = stream.sfreq, max(8, round(stream.sfreq))
        self._refuses = refuses
        self._kept: list[FloatArray] = []
        self._n_kept = 0
        self._n_dead = 0
        self._ends: list[tuple[float, int]] = []
        self._n_counted = 0
        self._last_stamp, self._last_row = np.nan, np.zeros(len(labels))
        self._rate_judged = False
        self.dead = False

    @property
    def settled(self) -> bool:
        """Whether the scale has been judged: before, nothing is blamed on electrodes."""
        return self._scale.settled

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
        ratio, still = self._scale.ratio(raw), is_still(raw)
        if not self.settled:
            if still or not ratio > 0:
                return self._count_dead(True)
            found = self._scale.judge(ratio)
            return [] if found is None else self._wrong_scale(found)
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

    def _wrong_scale(self, found: WrongScale) -> list[Event]:
        remedy = self._scale_remedy(found)
        return self._wrong(
            "wrong_scale",
            {
                "factor": float(f"{found.factor:.3g}"),
                "power_of_ten": found.power,
                "remedy": remedy,
            },
            f"{found.text}. {remedy}.",
        )

    def _scale_remedy(self, found: WrongScale) -> str:
        """Without what was given over the stream's own unit, where that would mend it."""
        given = self._match.units[self._columns[0]]
        own = self._match.own_units[self._columns[0]]
        option = "--scale" if given[:1].isdigit() else "--unit"
        try:
            fits = round(np.log10(unit_to_uv(own) / found.scale_uv)) == 0
        except SettingsError:
            fits = False
        if fits and given != own:
            return f"Leave {option} out: the stream's own unit ({own}) fits"
        remedy = f"--unit {found.unit}" if found.unit else f"--scale {found.scale_uv:.3g}"
        return f"Mend it at the amplifier, or say it ({remedy})"

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
        details: dict[str, object] = {"declared_hz": self._sfreq, "measured_hz": round(measured, 3)}
        if (np.abs(off) > _WRONG_RATE).all():
            return self._wrong("wrong_rate", details, text)
        return [Event("wrong_rate", details, f"{self._who}: {text}")]

    def _wrong(self, name: str, details: dict[str, object], text: str) -> list[Event]:
        if self._refuses:
            raise StreamMismatch(f"{self._who}: {text}")
        return [Event(name, details, f"{self._who}: {text}", logging.ERROR)]
