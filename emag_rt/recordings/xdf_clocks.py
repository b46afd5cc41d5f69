"""Clock offsets of an XDF file that cannot be true, told from clocks that were really set anew."""

from __future__ import annotations

from typing import Any

import numpy as np

from emag_rt.array_types import BoolArray

_ODD_S = 1.0
"""Offsets of one clock follow each other within milliseconds; drift takes hours to get here."""


def odd_offsets(entry: dict[str, Any]) -> BoolArray:
    """Offsets that are far from those of most of the recording.

    Parameters
    ----------
    entry : dict
        A stream as pyxdf loads it.

    Returns
    -------
    ndarray, shape (n_offsets,), bool
        True where an offset is over a second from the median one.
    """
    values = np.asarray(entry["clock_values"], dtype=np.float64)
    if len(values) < 3:
        return np.zeros(len(values), dtype=bool)
    odd: BoolArray = ~(np.abs(values - np.median(values)) <= _ODD_S)
    return odd


def mend_clocks(
    synchronized: list[dict[str, Any]], as_sent: list[dict[str, Any]], notes: list[str]
) -> None:
    """Put right the stamps of streams whose offsets jump although their clock did not.

    A clock that is set anew moves stamps and offsets alike; an offset that jumps alone is a
    measurement that went wrong.

    Parameters
    ----------
    synchronized, as_sent : list of dict
        The same streams with and without pyxdf's correction; the first are changed.
    notes : list of str
        What was changed is added here.
    """
    raw = {entry["info"]["stream_id"]: entry for entry in as_sent}
    for entry in synchronized:
        stamps = np.asarray(raw[entry["info"]["stream_id"]]["time_stamps"], dtype=np.float64)
        times = np.asarray(entry["clock_times"], dtype=np.float64)
        values = np.asarray(entry["clock_values"], dtype=np.float64)
        odd = odd_offsets(entry)
        jump_s = float(np.abs(values - np.median(values))[odd].min())
        if len(stamps) > 1 and np.abs(np.diff(stamps)).max() > 0.5 * jump_s:
            continue
        times, values = times[~odd], values[~odd]
        # About the middle: times since the start of a computer cost a line its precision.
        slope, level = np.polyfit(times - times.mean(), values, 1) if len(times) > 1 else (0.0, 0.0)
        entry["time_stamps"] = stamps + level + slope * (stamps - times.mean())
        notes.append(
            f"{odd.sum()} of {len(odd)} clock offsets of stream {entry['info']['name'][0]!r} "
            "cannot be true: left out"
        )
