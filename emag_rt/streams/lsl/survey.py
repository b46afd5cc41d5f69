"""What the streams in sight say of themselves, and what they really send."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from emag_rt.errors import StreamError
from emag_rt.streams.base import StreamFormat
from emag_rt.streams.lsl.discovery import FoundStream
from emag_rt.streams.lsl.library import local_clock
from emag_rt.streams.lsl.source import LslSource

_MOST_ROWS = 4096  # per second of looking; amplitudes need no more
_MIN_CHUNKS = 3


@dataclass(frozen=True)
class Seen:
    """One stream.

    Attributes
    ----------
    format : StreamFormat
        What it says; only its header where it carries no numbers, or did not answer.
    measured_hz : float or None
        Samples a second by count and stamps; None where too few came.
    amplitude : float or None
        Median over the channels of the robust standard deviation, in the stream's unit.
    flat : int
        Channels that did not change.
    age_s : float or None
        Age of the newest stamp when it arrived: the median.
    n_samples : int
        Samples that came.
    trouble : str
        Why nothing was measured; empty otherwise.
    """

    format: StreamFormat
    measured_hz: float | None = None
    amplitude: float | None = None
    flat: int = 0
    age_s: float | None = None
    n_samples: int = 0
    trouble: str = ""


def survey(streams: list[FoundStream], seconds: float) -> list[Seen]:
    """Listen to streams, all at once.

    Parameters
    ----------
    streams : list of FoundStream
        Which; see :func:`~emag_rt.streams.lsl.discovery.all_streams`.
    seconds : float
        For how long.

    Returns
    -------
    list of Seen
        In the same order.
    """
    if not streams:
        return []
    with ThreadPoolExecutor(len(streams)) as pool:
        return list(pool.map(lambda stream: listen(stream, seconds), streams))


def listen(stream: FoundStream, seconds: float) -> Seen:
    """Listen to one stream; what goes wrong is told in its ``trouble``."""
    if stream.format.channel_format in ("string", "undefined"):
        return Seen(stream.format, trouble="carries texts, not numbers")
    try:
        source = LslSource(stream)
    except StreamError as error:
        return Seen(stream.format, trouble=str(error))
    try:
        return _listen(source, seconds)
    except StreamError as error:
        return Seen(source.format, trouble=str(error))
    finally:
        source.close()


def _listen(source: LslSource, seconds: float) -> Seen:
    ends: list[tuple[float, int]] = []
    ages, kept = [], []
    n, n_kept = 0, 0
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        samples, stamps = source.pull(min(left, 0.2))
        if not len(stamps):
            continue
        n += len(stamps)
        newest = stamps.item(-1)
        if np.isfinite(newest):
            ends.append((newest, n))
            ages.append(local_clock() - newest)
        if n_kept < _MOST_ROWS * seconds:
            kept.append(samples.copy())
            n_kept += len(stamps)
    if not n:
        return Seen(source.format, trouble="nothing came")
    amplitude, flat = _amplitude(np.concatenate(kept))
    return Seen(
        source.format,
        measured_hz=_rate(ends),
        amplitude=amplitude,
        flat=flat,
        age_s=float(np.median(ages)) if ages else None,
        n_samples=n,
    )


def _rate(ends: list[tuple[float, int]]) -> float | None:
    """By the stamps at the ends of chunks: right also where samples come in bursts."""
    times, counts = np.array(ends[1:]).reshape(-1, 2).T  # the first chunk may have waited
    if len(times) < _MIN_CHUNKS or not times[-1] > times[0]:
        return None
    return float((counts[-1] - counts[0]) / (times[-1] - times[0]))


def _amplitude(samples: np.ndarray) -> tuple[float | None, int]:
    values = samples.astype(np.float64)
    flat = int((values == values[0]).all(axis=0).sum())
    with np.errstate(invalid="ignore"):
        centred = np.abs(values - np.nanmedian(values, axis=0))
        spread = 1.4826 * float(np.nanmedian(np.nanmedian(centred, axis=0)))
    return (spread if np.isfinite(spread) else None), flat
