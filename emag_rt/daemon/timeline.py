"""Order in time: gaps, repeated samples and clock jumps, told from stamps and count."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import Samples, Stamps
from emag_rt.core.even_line import WINDOW_S, EvenLine, even_within_s
from emag_rt.daemon.pieces import Cut, Piece


@dataclass(frozen=True)
class TimelineRules:
    """What counts as a gap.

    Attributes
    ----------
    bridge_s : float
        Gaps up to this long are bridged by straight lines between the samples around them.
    jump_s : float
        A gap beyond this is a clock jump: time starts again from there.
    back_s : float
        So is going back beyond this. Less far back are samples that are repeated or out of order.
    at_once_s : float
        No stamp is late by more than this: it is a gap, even where stamps are uneven.
    calm_s : float
        Stamps that have been even for so long are trusted again.
    """

    bridge_s: float = 0.05
    jump_s: float = 600.0
    back_s: float = 1.0
    at_once_s: float = 0.5
    calm_s: float = 10.0


class Timeline:
    """Cuts chunks into pieces that are continuous in time.

    Stamps that are even are kept bit for bit, and a step over whole periods is a gap at once: so
    are samples missing that were stamped by their number. Other steps are lateness, until
    the count proves that samples are missing (:class:`~emag_rt.core.even_line.EvenLine`):
    meanwhile samples are set on an even line.

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
        Samples kept although their stamp stood still, was no number, or could not be: set one
        period after the one before.
    """

    def __init__(self, sfreq: float, rules: TimelineRules | None = None) -> None:
        self._period = self._step = 1.0 / sfreq
        self._rules = rules or TimelineRules()
        self._even_s = even_within_s(self._period)
        self._n_window = max(8, round(WINDOW_S * sfreq))
        self.duplicates = 0
        self.restamped = 0
        self._n_dropped = 0
        self._last_stamp: float | None = None
        self._last_row: Samples = np.empty(0)
        # What the source said of the sample that was restamped to ``_last_stamp``, if it was.
        self._restamped_to: float | None = None
        self._said = 0.0
        self._n_even = 0
        self._n_strays = 0
        self._calm = True  # nothing but even steps to expect
        self._line: EvenLine | None = None
        self._n_calm = self._n_same = 0
        # Samples whose time was answered before, unless the next one shows that they are its
        # missing predecessors; and time that was answered without a sample.
        self._behind: list[Samples] = []
        self._holes: list[tuple[float, float]] = []
        self._recent: dict[float, bytes] = {}
        self._gone_on = (0.0, -math.inf)
        self._anew = False

    @property
    def out_of_order(self) -> int:
        """Samples dropped because their time had been answered before: repeated, or overtaken.

        Also those without any time, before the first sample that has one.
        """
        return self._n_dropped + len(self._behind)

    @property
    def uneven(self) -> bool:
        """Whether samples are set on an even line, because their stamps are not even."""
        return self._line is not None

    @property
    def newest(self) -> float:
        """Stamp of the last sample; not a number before the first."""
        return math.nan if self._last_stamp is None else self._last_stamp

    def go_on(self, until: float) -> Piece | None:
        """Let time go on without samples; those of that time are dropped when they come.

        Parameters
        ----------
        until : float
            Stamp of the next sample, which is left out, in s.

        Returns
        -------
        Piece or None
            The missing stamps, a gap; None before the first sample, or where none is due yet.
        """
        last = self._last_stamp
        step = self._step if self._line is None else self._line.step
        n = 0 if last is None else int((until - last) / step - 0.5)
        if last is None or n < 1:
            return None
        self._drop_behind()
        stamps: Stamps = last + step * np.arange(1, n + 1, dtype=np.float64)
        if self._line is not None:
            self._line.skip(n)
        start = self._gone_on[0] if self._gone_on[1] == last else last
        self._last_stamp = float(stamps[-1])
        self._gone_on = (start, self._last_stamp)
        self._calm = False
        self.forget_values()
        return Piece("gap", np.empty((0, 0)), stamps, n * step)

    def forget_values(self) -> None:
        """Bridge nothing from the last sample, whose channels were in another order."""
        self._last_row = np.empty(0)
        self._n_dropped += len(self._behind)
        self._behind = []
        self._recent.clear()

    def made_anew(self) -> None:
        """The source was silent and is another one now: what comes does not go on from before.

        Only a gap tells so by its stamps. They may as well go on evenly, or back by a little, where
        the new source stamps otherwise: that is a jump then, not repeated samples.
        """
        self.forget_values()
        self._anew, self._calm = True, False

    def follows(self, samples: Samples, stamps: Stamps) -> bool:
        """Whether a chunk goes on from the one before evenly; if so, it is noted.

        The usual case without the objects of :meth:`split`, whose parameters these are.
        """
        last, n = self._last_stamp, len(stamps)
        if last is None or not self._calm:
            return False
        step, even_s = self._step, self._even_s
        newest = stamps.item(0)
        if not -even_s <= newest - last - step <= even_s:
            return False
        if n > 1:
            newest = stamps.item(-1)
            with np.errstate(invalid="ignore"):  # a stamp may be no number
                apart = stamps[1:] - stamps[:-1]
            if not (apart.min() >= step - even_s and apart.max() <= step + even_s):
                return False
        self._step = step + 0.1 * ((newest - last) / n - step)
        self._n_even += n
        self._last_stamp = newest
        self._keep(samples[-1])
        return True

    def split(self, samples: Samples, stamps: Stamps, latest: float = math.inf) -> list[Piece]:
        """Cut a chunk.

        Parameters
        ----------
        samples : ndarray, shape (n_times, n_channels)
            The chunk.
        stamps : ndarray, shape (n_times,), float64
            Capture stamps in s.
        latest : float
            No sample can have been captured after this time, in s, as it has arrived already.

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
            self._n_dropped += n_untold
            samples, stamps = samples[n_untold:], stamps[n_untold:]
            if not len(stamps):
                return []
            self._last_stamp = float(stamps[0]) - self._period
        if self.follows(samples, stamps):
            return [Piece("data", samples, stamps)]
        return self._sort_out(samples, stamps, latest)

    def _keep(self, row: Samples) -> None:
        """A copy: the source may use its memory again."""
        if self._last_row.shape != row.shape or self._last_row.dtype != row.dtype:
            self._last_row = row.copy()
        self._last_row[...] = row

    def _sort_out(self, samples: Samples, stamps: Stamps, latest: float) -> list[Piece]:
        cut = Cut(samples)
        for i, said in enumerate(stamps.tolist()):
            row = samples[i]
            if self._anew and math.isfinite(said):
                stamp = self._by_first(said, row, latest, cut)
            else:
                stamp = self._by_stamp(said, row, latest, cut)
            if stamp is not None:
                cut.row(i, stamp)
                self._last_stamp, self._last_row = stamp, row
        self._last_row = self._last_row.copy()
        self._calm = self._line is None and not self._behind and not self._n_strays
        return cut.end()

    def _by_first(self, said: float, row: Samples, latest: float, cut: Cut) -> float | None:
        """Time of the first sample of a source that was made anew."""
        assert self._last_stamp is not None
        self._anew = False
        apart = said - self._last_stamp
        if self._gone_on[1] == self._last_stamp:  # time went on meanwhile
            return self._by_stamp(said, row, latest, cut)
        if apart <= self._rules.bridge_s + self._period or said - latest > 0.5 * apart:
            return self._jump(said, apart, row, cut)
        return self._by_stamp(said, row, latest, cut)

    def _by_stamp(self, said: float, row: Samples, latest: float, cut: Cut) -> float | None:
        """Time of a sample, by its stamp while those are even; None drops it."""
        if self._gone_on[0] < said < self._gone_on[1] + 0.5 * self._step:
            self._n_dropped += 1
            return None
        if self._line is not None:
            return self._by_count(self._line, said, row, latest, cut)
        assert self._last_stamp is not None
        last, rules = self._last_stamp, self._rules
        recovering = self._restamped_to == last
        before = self._said if recovering else last
        if not math.isfinite(said):
            return self._restamp(before)
        sure = self._n_even > 2
        if said == before and sure:
            if np.array_equal(row, self._last_row, equal_nan=True):
                self.duplicates += 1
                return None
            return self._restamp(said)
        apart = said - last
        if not -rules.back_s <= apart <= rules.jump_s:
            return self._jump(said, apart, row, cut)
        whole, even = self._whole(apart)
        since, on_time = self._whole(said - before) if recovering else (whole, even)
        if recovering and on_time and since > 0 and whole < 2:
            # Behind what was given out while the clock stood: half a period at a time catches
            # up, and the stamps are the source's own again.
            return said if apart > 0 else self._restamp(said, 0.5)
        if on_time and since < 0:
            self._overtaken(said, row)
            return None
        if even and whole == 1:
            self._n_even += 1
            self._n_strays = 0
            self._drop_behind()
            return said
        if (even and whole > 1 and sure) or apart > rules.at_once_s:
            # Time that has gone by is seen by when samples arrive.
            if said - latest > 0.5 * apart:
                self._n_strays += 1
                if self._n_strays > self._n_window:
                    return self._jump(said, apart, row, cut)
                return self._restamp(before)
            self._answer_hole(whole - 1, said, row, cut)
            return said
        self._drop_behind()
        self._line = EvenLine(self._step if sure else self._period, last)
        self._said, self._n_calm, self._n_same = before, 0, 0
        self._recent.clear()
        return self._by_count(self._line, said, row, latest, cut)

    def _by_count(
        self, line: EvenLine, said: float, row: Samples, latest: float, cut: Cut
    ) -> float | None:
        """Time of a sample while stamps are uneven; None drops it."""
        rules = self._rules
        if not math.isfinite(said):
            self.restamped += 1
            return line.place(None)
        apart = said - self._said
        value = row.tobytes()
        if self._recent.get(said) == value:  # sent twice
            if apart == 0.0:
                self.duplicates += 1
            else:
                self._n_dropped += 1
            return None
        if not -rules.back_s <= apart <= rules.jump_s:
            return self._jump(said, apart, row, cut)
        self._recent[said] = value
        if len(self._recent) > self._n_window:
            del self._recent[next(iter(self._recent))]
        if apart == 0.0:
            self.restamped += 1
            self._n_same += 1
            return line.place(None)
        if 0 < self._n_same * self._period < rules.at_once_s:  # one stamp for all of a burst
            line.note(self._said)
        self._n_same = 0
        late = line.delay(said)
        if late > rules.at_once_s and said - latest > 0.5 * late:
            self.restamped += 1
            return line.place(None)
        n_missing = round(late / line.step) if late > rules.at_once_s else line.missing(said)
        if n_missing:
            cut.add(self._hole(line.last, line.last + (n_missing + 1) * line.step, n_missing, row))
            line.skip(n_missing)
        stamp = line.place(said)
        calm = abs(apart - line.step) <= self._even_s
        self._n_calm = self._n_calm + 1 if calm else 0
        self._said = said
        if abs(stamp - said) <= self._even_s and self._n_calm * self._period > rules.calm_s:
            self._step, self._line = line.step, None
            self._recent.clear()
            return said
        return stamp

    def _whole(self, apart: float) -> tuple[int, bool]:
        """Time in periods, and whether it is a whole number of them."""
        n = round(apart / self._step)
        return n, abs(apart - n * self._step) <= self._even_s * (1.0 + 0.1 * abs(n))

    def _restamp(self, said: float, share: float = 1.0) -> float:
        """The next time, for a sample that says none of its own; ``said``: what it says."""
        assert self._last_stamp is not None
        self.restamped += 1
        self._drop_behind()
        self._restamped_to = self._last_stamp + share * self._step
        self._said = said
        return self._restamped_to

    def _jump(self, said: float, apart: float, row: Samples, cut: Cut) -> float:
        self._drop_behind()
        cut.add(Piece("jump", row[None][:0], np.empty(0), apart))
        self._line, self._n_even, self._n_strays = None, 0, 0
        self._step = self._period
        self._holes.clear()
        return said

    def _overtaken(self, said: float, row: Samples) -> None:
        """A sample whose time was answered before.

        Where that was answered without a sample, it was overtaken. Else it was sent before, or
        its stamp is wrong: then the next one seems to come after a gap.
        """
        assert self._last_stamp is not None
        oldest = self._last_stamp - self._rules.back_s
        self._holes = [hole for hole in self._holes if hole[1] > oldest]
        if any(start < said < stop for start, stop in self._holes):
            self._n_dropped += 1
            return
        self._behind.append(row.copy())

    def _drop_behind(self) -> None:
        self._n_dropped += len(self._behind)
        self._behind = []

    def _answer_hole(self, n_missing: int, said: float, row: Samples, cut: Cut) -> None:
        assert self._last_stamp is not None
        last = self._last_stamp
        if len(self._behind) == n_missing:
            share = np.arange(1, n_missing + 1) / (n_missing + 1)
            cut.add(Piece("data", np.array(self._behind), last + share * (said - last)))
            self.restamped += n_missing
            self._behind = []
            return
        self._drop_behind()
        cut.add(self._hole(last, said, n_missing, row))
        self._holes.append((last, said))

    def _hole(self, last: float, stamp: float, n_missing: int, after: Samples) -> Piece:
        before, n_missing = self._last_row, max(1, n_missing)
        share = np.arange(1, n_missing + 1) / (n_missing + 1)
        times = last + share * (stamp - last)
        if stamp - last <= self._rules.bridge_s + self._period and len(before):
            line = before + share[:, None] * (after - before)
            return Piece("bridge", line, times, stamp - last)
        return Piece("gap", after[None][:0], times, stamp - last)
