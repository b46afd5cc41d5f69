"""Order in time: gaps, repeated samples and clock jumps, told from the stamps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.floating]
Stamps = NDArray[np.float64]


@dataclass(frozen=True)
class TimelineRules:
    """What counts as a gap.

    Attributes
    ----------
    gap_factor : float
        A step between stamps beyond this many sample periods is a gap.
    bridge_s : float
        Gaps up to this long are bridged by straight lines between the samples around them.
    jump_s : float
        A step back, or a gap, beyond this is a clock jump: time is anchored anew.
    """

    gap_factor: float = 1.5
    bridge_s: float = 0.05
    jump_s: float = 600.0


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
    step_s : float
        Stamp step of a gap or jump, in s.
    """

    kind: Literal["data", "bridge", "gap", "jump"]
    samples: Samples
    stamps: Stamps
    step_s: float = 0.0


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
    restamped : int
        Samples whose stamp did not grow and was set one period after the one before.
    """

    def __init__(self, sfreq: float, rules: TimelineRules | None = None) -> None:
        self._period = 1.0 / sfreq
        self._rules = rules or TimelineRules()
        self._longest = self._rules.gap_factor * self._period
        self.duplicates = 0
        self.restamped = 0
        self._last_stamp: float | None = None
        self._last_row: Samples = np.empty(0)

    def follows(self, samples: Samples, stamps: Stamps) -> bool:
        """Whether a chunk goes on from the one before without a gap; if so, it is noted.

        The usual case without the objects of :meth:`split`, whose parameters these are.
        """
        if self._last_stamp is None:
            return False
        if not 0.0 < stamps.item(0) - self._last_stamp <= self._longest:
            return False
        if len(stamps) > 1:
            steps = stamps[1:] - stamps[:-1]
            if not (steps.min() > 0.0 and steps.max() <= self._longest):
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

        def end_run() -> None:
            if rows:
                pieces.append(Piece("data", samples[rows], np.array(times)))
                rows.clear()
                times.clear()

        last, last_row = self._last_stamp, self._last_row
        assert last is not None
        for i, stamp in enumerate(stamps.tolist()):
            step = stamp - last
            if step == 0 and np.array_equal(samples[i], last_row):
                self.duplicates += 1
                continue
            if step <= 0 and step > -self._rules.jump_s:
                self.restamped += 1
                stamp = last + self._period
            elif abs(step) > self._rules.jump_s:
                end_run()
                pieces.append(Piece("jump", samples[:0], stamps[:0], step))
            elif step > self._longest:
                end_run()
                pieces.append(self._hole(last, stamp, last_row, samples[i]))
            rows.append(i)
            times.append(stamp)
            last, last_row = stamp, samples[i]
        end_run()
        return pieces

    def _hole(self, last: float, stamp: float, before: Samples, after: Samples) -> Piece:
        n_missing = max(1, round((stamp - last) / self._period) - 1)
        share = np.arange(1, n_missing + 1) / (n_missing + 1)
        times = last + share * (stamp - last)
        if stamp - last <= self._rules.bridge_s + self._period and len(before):
            line = before + share[:, None] * (after - before)
            return Piece("bridge", line, times, stamp - last)
        return Piece("gap", after[None][:0], times, stamp - last)
