"""From stamps and times to figures: centiles, ratios, losses, stages. Pure arithmetic."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from emag_rt.array_types import BoolArray, FloatArray, IntArray

QUANTILES = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}
STAGES = ("transport_in", "front_end", "render", "publish", "transport_out")


@dataclass(frozen=True)
class Losses:
    """What became of the samples that were due.

    Attributes
    ----------
    sent : int
        Samples between the first received and the last that was due.
    received : int
        Different samples among them that came.
    missing, duplicated, reordered : int
        Samples that never came, that came again, and that came after a later one.
    empty : int
        Rows of NaN: the sample's place was kept, but it was too late to render.
    """

    sent: int = 0
    received: int = 0
    missing: int = 0
    duplicated: int = 0
    reordered: int = 0
    empty: int = 0

    @property
    def clean(self) -> bool:
        """Whether every sample came rendered, once and in order."""
        return not (self.missing or self.duplicated or self.reordered or self.empty)

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return asdict(self)

    def __add__(self, other: Losses) -> Losses:
        mine, theirs = asdict(self), asdict(other)
        return Losses(**{key: mine[key] + theirs[key] for key in mine})


def sample_numbers(stamps: ArrayLike, start: float, sfreq: float) -> IntArray:
    """Numbers of samples from their exact stamps, ``start`` being number 0."""
    return np.round((np.asarray(stamps, dtype=np.float64) - start) * sfreq).astype(np.int64)


def account(
    stamps: ArrayLike,
    start: float,
    sfreq: float,
    n_due: int | None = None,
    first: int = 0,
    empty: BoolArray | None = None,
) -> Losses:
    """Count what was lost, repeated and out of order.

    Parameters
    ----------
    stamps : array_like, shape (n_received,)
        In order of receipt, in s.
    start : float
        Stamp of sample 0.
    sfreq : float
        Rate in Hz.
    n_due : int, optional
        Samples due from ``first`` on; by default up to the latest received.
    first : int
        Number of the first sample that is due. Earlier ones count as repeated.
    empty : ndarray of bool, shape (n_received,), optional
        Rows of NaN.

    Returns
    -------
    Losses
        Samples beyond the last that was due are left out.
    """
    numbers = sample_numbers(stamps, start, sfreq)
    if n_due is None:
        n_due = max(0, int(numbers.max(initial=first - 1)) + 1 - first)
    counted = numbers < first + n_due
    n_empty = 0 if empty is None else int((empty & counted).sum())
    numbers = numbers[counted]
    due = numbers[numbers >= first]
    _, place = np.unique(due, return_index=True)
    new = due[np.sort(place)]  # each sample where it came first
    reordered = int((new < np.maximum.accumulate(new)).sum()) if len(new) else 0
    return Losses(n_due, len(new), n_due - len(new), len(numbers) - len(new), reordered, n_empty)


def percentiles(values: ArrayLike) -> dict[str, float | None]:
    """Centiles by name, of whatever unit; None where there are no values."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        return dict.fromkeys(QUANTILES, None)
    found = np.percentile(known, list(QUANTILES.values()))
    return {key: round(float(v), 6) for key, v in zip(QUANTILES, found, strict=True)}


def ratios(
    ours: list[dict[str, float | None]], floor: list[dict[str, float | None]]
) -> dict[str, dict[str, float | None]]:
    """Ratio of each centile to the floor's of the same round.

    Parameters
    ----------
    ours, floor : list of dict
        Centiles of each round, see :func:`percentiles`.

    Returns
    -------
    dict
        For each centile ``median``, ``min`` and ``max`` over the rounds.
    """
    found: dict[str, dict[str, float | None]] = {}
    for key in QUANTILES:
        each = [
            mine / base
            for mine, base in ((a[key], b[key]) for a, b in zip(ours, floor, strict=True))
            if mine is not None and base
        ]
        spread = (float(np.median(each)), min(each), max(each)) if each else (None, None, None)
        found[key] = {
            name: None if value is None else round(value, 4)
            for name, value in zip(("median", "min", "max"), spread, strict=True)
        }
    return found


@dataclass(frozen=True)
class Trend:
    """A line through values over time, by least squares.

    Attributes
    ----------
    slope, error : float or None
        Per unit of time, and its standard error; None for fewer than three points.
    mean : float or None
        Of the values.
    """

    slope: float | None
    error: float | None
    mean: float | None

    def as_dict(self) -> dict[str, float | None]:
        """For JSON."""
        return asdict(self)


def trend(values: ArrayLike, times: ArrayLike) -> Trend:
    """Fit a line; values that are not finite are left out.

    Parameters
    ----------
    values, times : array_like, shape (n,)
        What grew, and when.

    Returns
    -------
    Trend
        The standard error takes points to be independent.
    """
    y, t = (np.asarray(v, dtype=np.float64) for v in (values, times))
    known = np.isfinite(y) & np.isfinite(t)
    y, t = y[known], t[known]
    mean = float(y.mean()) if len(y) else None
    centred = t - t.mean() if len(t) else t
    power = float((centred**2).sum())
    if len(y) < 3 or power == 0.0:
        return Trend(None, None, mean)
    slope = float(centred @ y) / power
    rest = y - y.mean() - slope * centred
    error = float(np.sqrt((rest**2).sum() / (len(y) - 2) / power))
    return Trend(slope, error, mean)


def growth(values: FloatArray, times: FloatArray) -> float:
    """Slope of values over time, rounded; 0 where there are too few."""
    return round(trend(values, times).slope or 0.0, 6)


def send_times(numbers: IntArray, sent: FloatArray, chunk: int) -> FloatArray:
    """When the amplifier sent samples (NaN where it does not say), on the LSL clock."""
    place = numbers // chunk
    known = (place >= 0) & (place < len(sent))
    out = np.full(len(numbers), np.nan)
    out[known] = sent[place[known]]
    return out


def stage_times(
    trace: dict[str, FloatArray],
    log: dict[str, Any],
    stamps: FloatArray,
    receipts: FloatArray,
    look_ahead: int = 0,
) -> dict[str, FloatArray]:
    """Where the time of each chunk went.

    Parameters
    ----------
    trace : dict of ndarray, shape (n_chunks,)
        ``stamp`` (newest of the chunk), ``pulled``, ``pushed`` and perhaps ``filtered`` and
        ``rendered``, in s on the LSL clock.
    log : dict
        ``sent``, ``start``, ``sfreq``, ``chunk`` of the amplifier.
    stamps, receipts : ndarray, shape (n_received,)
        Of the consumer.
    look_ahead : int
        Samples by which the output follows the input.

    Returns
    -------
    dict of ndarray, shape (n_kept,)
        In s, a value for each chunk whose way is known from end to end: ``transport_in`` (sent
        to pulled), ``front_end``, ``render`` (with the front end in it where a daemon does both
        in one call), ``publish``, ``transport_out`` (pushed to received); and ``queue``: how
        long at least the oldest of the amplifier's chunks that were pulled at once had waited
        for the newest of them; 0 unless chunks pile up.
    """
    start, sfreq, chunk = float(log["start"]), float(log["sfreq"]), int(log["chunk"])
    sent = np.asarray(log["sent"], dtype=np.float64)
    number = sample_numbers(trace["stamp"], start, sfreq)
    nothing = np.full(len(number), np.nan)
    pulled = trace["pulled"]
    # Each side notes the time after its call: the other side may have had the chunk before that.
    departed = np.minimum(send_times(number, sent, chunk), pulled)
    before = np.concatenate([number[:1] - chunk, number[:-1]])
    oldest = send_times(np.minimum(before + 1, number), sent, chunk)
    received = dict(
        zip(sample_numbers(stamps, start, sfreq).tolist(), receipts.tolist(), strict=True)
    )
    arrived = np.array([received.get(n - look_ahead, np.nan) for n in number.tolist()])
    filtered = trace.get("filtered", nothing)
    rendered = trace.get("rendered", nothing)
    pushed = np.minimum(trace["pushed"], arrived)
    begun = np.where(np.isfinite(filtered), filtered, pulled)
    times = {
        "transport_in": pulled - departed,
        "queue": np.maximum(0.0, departed - oldest),
        "front_end": filtered - pulled,
        "render": rendered - begun,
        "publish": pushed - np.where(np.isfinite(rendered), rendered, pulled),
        "transport_out": arrived - pushed,
    }
    kept = np.isfinite(departed) & np.isfinite(arrived)
    return {key: values[kept] for key, values in times.items()}
