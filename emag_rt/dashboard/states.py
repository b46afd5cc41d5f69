"""What state a daemon is in, judged from its outlets, in words for the person who records."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from emag_rt.array_types import BoolArray, Float32Array
from emag_rt.engine.scale import is_still

State = Literal[
    "waiting",
    "running",
    "silent",
    "no_eeg",
    "wrong_input",
    "too_many_bad",
    "unresponsive",
    "stopped",
]
JUDGING: tuple[State, ...] = ("running", "too_many_bad")
"""States in which verdicts on single channels mean something."""
SILENT_S = 1.0
# No EEG in the pass band is as weak or as strong as this, in µV: the unit is wrong.
_WEAK_UV, _STRONG_UV = 0.05, 2000.0
# The status outlet speaks once in an interval, a second by default, whatever the source does.
_MUTE_S, _MUTE_INTERVALS = 6.0, 3.0


@dataclass(frozen=True)
class Look:
    """What the rows of the last seconds say themselves, whatever the daemon told.

    Attributes
    ----------
    still : bool
        Whether most LD channels never change.
    unrendered : bool
        Whether no rendered channel held a number in four seconds.
    typical_uv : float
        Typical strength of HD, by the median; NaN where too little came.
    """

    still: bool = False
    unrendered: bool = False
    typical_uv: float = math.nan


def look_at(hd: Float32Array, raw: Float32Array, rendered: BoolArray, sfreq: float) -> Look:
    """Look at HD rows, and LD rows as they come from the amplifier, of the newest seconds.

    Parameters
    ----------
    hd, raw : ndarray, shape (n_times, n_channels)
        In µV.
    rendered : ndarray of bool, shape (n_hd,)
        HD channels that are not measured.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    Look
        Nothing odd where too little came to tell.
    """
    n = max(2, round(2.0 * sfreq))
    told = hd[np.isfinite(hd).any(axis=1), :: max(1, hd.shape[1] // 64)]
    typical = math.nan
    if len(told) >= n:
        typical = float(np.nanmedian(np.abs(told))) / 0.6745
    return Look(
        still=len(raw) >= n and raw.shape[1] > 0 and is_still(raw[-n:].astype(np.float64)),
        unrendered=bool(
            len(hd) >= 2 * n - 1 and rendered.any() and np.isnan(hd[:, rendered]).all()
        ),
        typical_uv=typical,
    )


def _wrong_scale(event: dict[str, Any]) -> str:
    remedy = event.get("remedy", "Mend it at the amplifier, or serve with --unit or --scale")
    return (
        f"The signal is {_number(event.get('factor'))} times as strong as in calibration: its unit "
        f"or gain is wrong. {remedy}."
    )


def _wrong_rate(event: dict[str, Any]) -> str:
    return (
        f"{_number(event.get('measured_hz'))} samples come in a second, "
        f"{_number(event.get('declared_hz'))} are declared. Set the amplifier and its LSL outlet "
        "to the same rate."
    )


def _refused(event: dict[str, Any]) -> str:
    return str(event.get("reason", "It does not fit the bundle."))


WRONG: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "wrong_scale": ("Wrong unit", _wrong_scale),
    "wrong_rate": ("Wrong rate", _wrong_rate),
    "refused": ("Source refused", _refused),
}
"""Events that say that the input is not what it must be: a title, and words from the details."""


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) else "an unknown number of"


@dataclass(frozen=True)
class Facts:
    """What is known of a daemon; ages in s, None before the first.

    Attributes
    ----------
    name : str
        Its HD outlet.
    source : str
        What it reads, as told on the command line or by its outlet; may be empty.
    launched : bool
        Whether the daemon started this dashboard.
    open, seen : bool
        Whether the HD outlet is there now, and ever was.
    said_stopped, said_silent : bool
        Its last events.
    hd_age_s, status_age_s : float or None
        Since the last HD sample and the last status.
    hold_s : float
        How long the daemon withholds samples by design.
    status_interval_s : float
        Between two statuses.
    too_many_bad : bool
        Whether more LD channels are bad than the settings allow.
    renders_on : bool
        Whether it renders even then.
    dead : bool
        Whether the daemon said that no LD channel carries EEG.
    wrong : tuple of (str, str)
        Title and words of what is wrong with the input; empty strings where nothing is.
    look : Look
        What the rows say.
    unfit : bool
        Whether LD does not fit the bundle.
    bad : tuple of str
        Bad LD channels.
    trouble : str
        Why the outlet cannot be read, or an empty string.
    """

    name: str
    source: str = ""
    launched: bool = False
    open: bool = False
    seen: bool = False
    said_stopped: bool = False
    said_silent: bool = False
    hd_age_s: float | None = None
    status_age_s: float | None = None
    hold_s: float = 0.0
    status_interval_s: float = 1.0
    too_many_bad: bool = False
    renders_on: bool = False
    dead: bool = False
    wrong: tuple[str, str] = ("", "")
    look: Look = field(default_factory=Look)
    unfit: bool = False
    bad: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def unrendered(self) -> bool:
        """Whether nothing is rendered now, and no bad channel filled."""
        lacking = self.too_many_bad and not self.renders_on
        return lacking or self.dead or self.look.unrendered


def judge(facts: Facts) -> tuple[State, str, str]:
    """State, a title of a few words, and a sentence that says what it means or what to do."""
    source = f" “{facts.source}”" if facts.source else ""
    if facts.trouble and facts.seen:  # what is shown must not look live
        return "stopped", "Cannot attach", f"{facts.trouble} What is shown is the last that came."
    if facts.trouble:
        return "waiting", "Cannot attach", facts.trouble
    if facts.said_stopped or (facts.seen and not facts.open):
        end = "The daemon has ended" if facts.said_stopped else "The daemon's outlet has gone"
        why = f" {facts.wrong[1]}" if facts.wrong[1] else ""
        return "stopped", "Stopped", f"{end}.{why} What is shown is the last that came."
    if not facts.open:
        if facts.launched:
            text = f"Nothing is served yet: looking for the amplifier's stream{source}."
            return "waiting", "Waiting for the source", text
        text = f"Looking for the outlet “{facts.name}”. Is emag-rt serve running under this name?"
        return "waiting", "Waiting for the daemon", text
    age = facts.hd_age_s
    if age is None:
        text = f"Connected; no sample has come{' from' if source else ''}{source} yet."
        return "waiting", "Waiting for samples", text
    limit = SILENT_S + facts.hold_s
    mute_s = max(_MUTE_S, _MUTE_INTERVALS * facts.status_interval_s)
    if age > mute_s + limit and (facts.status_age_s or 0.0) > mute_s:
        text = f"Neither samples nor status for {age:.0f} s: the daemon hangs or is out of reach."
        return "unresponsive", "Not answering", text
    if facts.said_silent or age > limit:
        text = f"No samples from the amplifier's stream{source}{_for(age)}. Serving goes on when "
        return "silent", "Source silent", text + "it is back; check its cable, battery and program."
    if facts.wrong[0]:
        title, text = facts.wrong
        if facts.unrendered:
            text += " Nothing is rendered meanwhile."
        return "wrong_input", title, text
    if facts.dead or (facts.look.still and not facts.too_many_bad):
        text = "Every LD channel is flat or the same as all others. Is the amplifier on, the cap "
        return "no_eeg", "No EEG comes", text + "plugged in, the reference connected?"
    if facts.too_many_bad:
        text = f"{len(facts.bad) or 'Too many'} LD channels are bad ({_some(facts.bad)}). Mend the "
        text += "cap" + (": nothing is rendered meanwhile." if facts.unrendered else ".")
        return "too_many_bad", "Too many bad channels", text
    if facts.look.unrendered:
        text = "Samples come, and no rendered channel has held a number for seconds. See the "
        return "no_eeg", "Nothing is rendered", text + "counters and events, and the daemon's log."
    if facts.look.typical_uv < _WEAK_UV or facts.look.typical_uv > _STRONG_UV:
        text = f"The typical channel has {facts.look.typical_uv:.2g} µV, which no EEG has. Is the "
        return "wrong_input", "Wrong unit?", text + "unit right (--unit), the cap on a head?"
    if facts.unfit:
        text = "LD channels do not go together as in calibration. Is this the wearer's bundle, and "
        return (
            "wrong_input",
            "Does not fit",
            text + "every electrode in its place? HD may be wrong.",
        )
    if facts.bad:
        one = len(facts.bad) == 1
        text = f"{_some(facts.bad)} {'is' if one else 'are'} bad and filled from the others."
        return "running", f"Running, {len(facts.bad)} bad", text
    return "running", "Running", f"HD is served live{f' from{source}' if source else ''}."


def _for(age_s: float) -> str:
    return f" for {age_s:.0f} s" if age_s >= SILENT_S else ""


def _some(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:6]) + (", …" if len(labels) > 6 else "") if labels else "see quality"
