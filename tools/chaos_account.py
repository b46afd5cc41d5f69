"""The account that chaos.py closes: what was sent, what was counted, what was received."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np


def made_up_rows(stamps: np.ndarray, events: list[dict[str, Any]]) -> np.ndarray:
    """Mask of the rows that the events say nobody sent; their stamps may hit those of others.

    Where a clock jumped back, time is lived through twice: a stamp is looked for between jumps.
    """
    made_up = np.zeros(len(stamps), dtype=bool)
    edges = [0, *(1 + np.flatnonzero(np.diff(stamps) <= 0)), len(stamps)]
    stretch = 0
    for event in events:
        if event["event"] == "clock_jump" and event["step_s"] < 0:
            stretch += 1
        n = {"bridged": event.get("samples"), "gap": event.get("filled")}.get(event["event"])
        if not n or stretch + 1 >= len(edges):
            continue
        start, stop = edges[stretch], edges[stretch + 1]
        first = start + int(np.searchsorted(stamps[start:stop], event["stamp"]))
        if first < stop and stamps[first] == event["stamp"]:
            made_up[first : first + n] = True
    return made_up


def account(
    sent: np.ndarray, stamps: np.ndarray, events: list[dict[str, Any]], c: dict[str, int]
) -> tuple[dict[str, int], list[str]]:
    """Compare what was sent, counted and received.

    Parameters
    ----------
    sent, stamps : ndarray, float64
        Stamps of all samples sent, and of all rows received, in order.
    events : list of dict
        What the daemon marked.
    c : dict
        The daemon's last status.

    Returns
    -------
    numbers : dict
        ``lost_without_count`` must be 0.
    failures : list of str
        What does not agree.
    """
    dropped = c["duplicates"] + c["out_of_order"] + c["refused"]
    answered = c["samples_out"] + c["skipped"]
    in_transit = len(sent) - c["samples_in"]
    made_up = made_up_rows(stamps, events)
    real = stamps[~made_up]
    unasked = sum((Counter(real.tolist()) - Counter(sent.tolist())).values())
    back = int((np.diff(stamps) <= 0).sum())
    lost = max(
        abs(c["samples_in"] - answered - dropped),
        abs(len(real) - answered),
        abs(int(made_up.sum()) - c["bridged"] - c["filled"]),
        # A real row whose stamp nobody sent stands for a sample that nobody counted ...
        max(0, unasked - c["restamped"]),
        # ... and what was lost in transit must be missing in the stamps.
        max(0, in_transit - c["bridged"] - c["filled"] - c["unfilled"]),
    )
    numbers = {
        "sent": len(sent),
        "samples_in": c["samples_in"],
        "lost_in_transit": in_transit,
        "rows": len(stamps),
        "samples_out": c["samples_out"],
        "skipped": c["skipped"],
        "dropped": dropped,
        "restamped": c["restamped"],
        "made_up": int(made_up.sum()),
        "unfilled": c["unfilled"],
        "gaps": c["gaps"],
        "jumps": c["jumps"],
        "recovered": c["recovered"],
        "lost_without_count": lost,
    }
    rules = {
        f"{lost} samples lost without count": lost == 0,
        f"{in_transit} samples in transit": in_transit >= 0,
        f"stamps went back {back} times, at {c['jumps']} jumps": back <= c["jumps"],
    }
    return numbers, [text for text, holds in rules.items() if not holds]
