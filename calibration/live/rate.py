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
        self._begin = self._end = self._before = 0.0
        self._n = 0
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
        nominal, span = self._stream.sfreq, float(stamps[-1] - stamps[0])
        measured = (len(stamps) - 1) / span if span > 0 else np.inf
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
        whole = np.diff(stamps, prepend=self._end)
        if self._n == 0 or not (np.abs(whole) < 0.5).all():  # a gap, or the beginning
            self._begin, self._n = float(stamps[0]), 0
        self._n += len(stamps)
        self._end = float(stamps[-1])
        span = self._end - self._begin
        if span > max(_LONG_S, self._longest):
            self._longest, self._measured = span, (self._n - 1) / span
