"""Order in time: gaps, repeated samples and clock jumps, told from the stamps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from emag_rt.array_types import Samples, Stamps

Kind = Literal["data", "bridge", "gap", "jump"]


@dataclass(frozen=True)
class TimelineRules:
    """What counts as a gap.

    Attributes
    ----------
    gap_factor : float
        Stamps further apart than this many sample periods are a gap.
    bridge_s : float
        Gaps up to this long are bridged by straight lines between the samples around them.
    jump_s : float
        A gap beyond this is a clock jump: time starts again from there.
    back_s : float
        So is going back beyond this. Less far back are samples that are repeated or out of order.
    """

    gap_factor: float = 1.5
    bridge_s: float = 0.05
    jump_s: float = 600.0
    back_s: float = 1.0


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of the stream.

    Attributes
    ----------
    kind : {"data", "bridge", "gap", "jump"}
        Samples; samples made up to bridge a short gap; a long gap; a clock jump.
    samples : ndarray, shape (n_times, n_channels)
        Empty for gaps and jumps.
    stamps : ndarray, shape (n_times,)
        Stamps of the samples, or for a gap those of the missing ones, evenly spaced.
    apart_s : float
        Time between the stamps around a gap or jump, in s.
    """

    kind: Kind
    samples: Samples
    stamps: Stamps
    apart_s: float = 0.0


class Timeline:
    """Cuts chunks into pieces that are continuous in time.

    Parameters
    ----------
    sfreq : float
        Nominal rate in Hz.
    rules : TimelineRules
        What counts as a gap.

    Attributes
    ----------
    duplicates : int
        Samples dropped because stamp and values repeat the one before.
    out_of_order : int
        Samples dropped because their time had been answered before: repeated, or overtaken.
        Also those without any time, before the first sample that has one.
    restamped : int
        Samples kept although their stamp stood still, or was no number: set one period after
        the one before.
    """

    def __init__(self, sfreq: float, rules: TimelineRules | None = None) -> None:
        self._period = 1.0 / sfreq
        self._rules = rules or TimelineRules()
        self._longest = self._rules.gap_factor * self._period
        self.duplicates = 0
        self.out_of_order = 0
        self.restamped = 0
        self._last_stamp: float | None = None
        self._last_row: Samples = np.empty(0)
        # What the source said of the sample that was restamped to ``_last_stamp``, if it was.
        self._restamped_to: float | None = None
        self._said = 0.0

    def forget_values(self) -> None:
        """Bridge nothing from the last sample, whose channels were in another order."""
        self._last_row = np.empty(0)

    def follows(self, samples: Samples, stamps: Stamps) -> bool:
        """Whether a chunk goes on from the one before without a gap; if so, it is noted.

        The usual case without the objects of :meth:`split`, whose parameters these are.
        """
        if self._last_stamp is None:
            return False
        if not 0.0 < stamps.item(0) - self._last_stamp <= self._longest:
            return False
        if len(stamps) > 1:
            with np.errstate(invalid="ignore"):  # a stamp may be no number
                apart = stamps[1:] - stamps[:-1]
            if not (apart.min() > 0.0 and apart.max() <= self._longest):
                return False
        self._last_stamp = stamps.item(-1)
        self._keep(samples[-1])
        return True

    def split(self, samples: Samples, stamps: Stamps) -> list[Piece]:
        """Cut a chunk.

        Parameters
        ----------
        samples : ndarray, shape (n_times, n_channels)
            The chunk.
        stamps : ndarray, shape (n_times,), float64
            Capture stamps in s.

        Returns
        -------
        list of Piece
            In order of time; their stamps grow strictly except across a jump back.
        """
        if not len(stamps):
            return []
        if self._last_stamp is None:
            told = np.flatnonzero(np.isfinite(stamps))
            n_untold = int(told[0]) if len(told) else len(stamps)
            self.out_of_order += n_untold
            samples, stamps = samples[n_untold:], stamps[n_untold:]
            if not len(stamps):
                return []
            self._last_stamp = float(stamps[0]) - self._period
        if self.follows(samples, stamps):
            return [Piece("data", samples, stamps)]
        pieces = self._sort_out(samples, stamps)
        data = [piece for piece in pieces if piece.kind == "data"]
        if data:
            self._last_stamp = float(data[-1].stamps[-1])
            self._keep(data[-1].samples[-1])
        return pieces

    def _keep(self, row: Samples) -> None:
        """A copy: the source may use its memory again."""
        if self._last_row.shape != row.shape or self._last_row.dtype != row.dtype:
            self._last_row = row.copy()
        self._last_row[...] = row

    def _sort_out(self, samples: Samples, stamps: Stamps) -> list[Piece]:
        pieces: list[Piece] = []
        rows: list[int] = []
        times: list[float] = []

        def end_stretch() -> None:
            if rows:
                pieces.append(Piece("data", samples[rows], np.array(times)))
                rows.clear()
                times.clear()

        assert self._last_stamp is not None
        last: float = self._last_stamp
        last_row = self._last_row
        for i, said in enumerate(stamps.tolist()):
            apart = said - last
            stamp = said
            before = self._said if self._restamped_to == last else last
            if not math.isfinite(said) or said == before or -self._rules.back_s <= apart <= 0:
                repeats = np.array_equal(samples[i], last_row, equal_nan=True)
                placed = self._placed(said, before, last, repeats)
                if placed is None:
                    continue
                stamp = placed
            elif not 0 < apart <= self._rules.jump_s:
                end_stretch()
                pieces.append(Piece("jump", samples[:0], stamps[:0], apart))
            elif apart > self._longest:
                end_stretch()
                pieces.append(self._hole(last, said, last_row, samples[i]))
            rows.append(i)
            times.append(stamp)
            last, last_row = stamp, samples[i]
        end_stretch()
        return pieces

    def _placed(self, said: float, before: float, last: float, repeats: bool) -> float | None:
        """Time of a sample that says none after the last one; None drops it.

        A clock that stands still must not stop the stream, and a sample that was overtaken must
        not push all later ones ahead of their time. ``before`` is what the last sample said.
        """
        if said == before and repeats:
            self.duplicates += 1
            return None
        told = math.isfinite(said)
        if told and said < before:
            self.out_of_order += 1
            return None
        self.restamped += 1
        # Behind what was given out while the clock stood: half a period at a time catches up, and
        # the stamps are the source's own again.
        behind = told and said > before
        self._restamped_to = last + (0.5 if behind else 1.0) * self._period
        self._said = said if told else before
        return self._restamped_to

    def _hole(self, last: float, stamp: float, before: Samples, after: Samples) -> Piece:
        n_missing = max(1, round((stamp - last) / self._period) - 1)
        share = np.arange(1, n_missing + 1) / (n_missing + 1)
        times = last + share * (stamp - last)
        if stamp - last <= self._rules.bridge_s + self._period and len(before):
            line = before + share[:, None] * (after - before)
            return Piece("bridge", line, times, stamp - last)
        return Piece("gap", after[None][:0], times, stamp - last)
