"""Does a stream send at the rate it declares?"""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.engine.matching import RATE_TOLERANCE
from emag_rt.errors import StreamMismatch
from emag_rt.streams.base import StreamFormat

_LOOK_S = 2.0
_LONG_S = 20.0
# Over two seconds, stamps that come in bursts make this much.
_WRONG = 0.15
_SET_BACK_S = 1.0
_APART = 0.1  # of a period


class RateWatch:
    """Counts samples against their stamps.

    Parameters
    ----------
    stream : StreamFormat
        What the stream declares.
    """

    def __init__(self, stream: StreamFormat) -> None:
        self._stream = stream
        self._n_look = max(8, round(_LOOK_S * stream.sfreq))
        self._first: list[FloatArray] | None = []
        self._begin = self._end = 0.0
        self._n: int | None = None
        self._longest = 0.0
        self._measured = 0.0

    def add(self, stamps: FloatArray) -> None:
        """Take in the stamps of a chunk.

        Raises
        ------
        StreamMismatch
            If the first two seconds show quite another rate.
        """
        stamps = stamps[np.isfinite(stamps)]
        if not len(stamps):
            return
        if self._first is not None:
            first = np.concatenate([*self._first, stamps])
            set_back = np.flatnonzero(np.diff(first) < -_SET_BACK_S)
            if len(set_back):  # says nothing of the rate: look at what follows
                first = first[set_back[-1] + 1 :]
            self._first = [first]
            if len(first) >= self._n_look:
                self._judge(first)
                self._first = None
        self._go_on(stamps)

    def note(self) -> str | None:
        """What the longest stretch without a gap says, where it differs by over half a percent."""
        nominal = self._stream.sfreq
        if not self._measured or abs(self._measured / nominal - 1) <= RATE_TOLERANCE:
            return None
        return (
            f"the source declares {nominal:g} Hz and sent {self._measured:.2f} samples a second "
            f"by its own stamps, over {self._longest:.0f} s"
        )

    def _judge(self, stamps: FloatArray) -> None:
        nominal = self._stream.sfreq
        # From burst to burst, where several share a stamp, or nearly.
        starts = np.flatnonzero(np.diff(stamps) * nominal > _APART) + 1
        first, last = (starts[0], starts[-1]) if len(starts) > 1 else (0, len(stamps) - 1)
        span = float(stamps[last] - stamps[first])
        measured = (last - first) / span if span > 0 else np.inf
        step = float(np.median(np.diff(stamps))) * nominal
        # Too few samples may have been lost on the way; then most steps are a period all the same.
        if measured > (1 + _WRONG) * nominal or (
            measured < (1 - _WRONG) * nominal and step > 1 + _WRONG
        ):
            raise StreamMismatch(
                f"stream {self._stream.name!r} (source_id {self._stream.source_id!r}): rate must "
                f"be the declared {nominal:g} Hz, got {measured:.4g} samples a second by its own "
                "stamps. Set the rate of the amplifier's LSL outlet right."
            )

    def _go_on(self, stamps: FloatArray) -> None:
        """Count from the beginning of a burst to that of another; most have one sample."""
        whole = np.diff(stamps, prepend=self._end)
        if not (np.abs(whole) < 0.5).all():  # a gap, or the beginning
            self._n, whole = None, whole[1:]
        starts = np.flatnonzero(whole * self._stream.sfreq > _APART) + len(stamps) - len(whole)
        self._end = float(stamps[-1])
        if self._n is None:
            if not len(starts):
                return
            self._begin, self._n = float(stamps[starts[0]]), -int(starts[0])
        if len(starts):
            span, n = float(stamps[starts[-1]]) - self._begin, self._n + int(starts[-1])
            if span > max(_LONG_S, self._longest):
                self._longest, self._measured = span, n / span
        self._n += len(stamps)
