"""What state a daemon is in, judged from its outlets, in words for the person who records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["waiting", "running", "silent", "too_many_bad", "unresponsive", "stopped"]
SILENT_S = 1.0
# The status outlet speaks once in an interval, a second by default, whatever the source does.
_MUTE_S, _MUTE_INTERVALS = 6.0, 3.0


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
    unfit: bool = False
    bad: tuple[str, ...] = ()
    trouble: str = ""


def judge(facts: Facts) -> tuple[State, str, str]:
    """State, a title of a few words, and a sentence that says what it means or what to do."""
    source = f" “{facts.source}”" if facts.source else ""
    if facts.trouble and facts.seen:  # what is shown must not look live
        return "stopped", "Cannot attach", f"{facts.trouble} What is shown is the last that came."
    if facts.trouble:
        return "waiting", "Cannot attach", facts.trouble
    if facts.said_stopped or (facts.seen and not facts.open):
        end = "The daemon has ended" if facts.said_stopped else "The daemon's outlet has gone"
        return "stopped", "Stopped", f"{end}. What is shown is the last that came."
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
    if facts.dead:
        text = "Every LD channel is flat or the same as all others. Is the amplifier on, the cap "
        return "too_many_bad", "No EEG comes", text + "plugged in, the reference connected?"
    if facts.too_many_bad:
        text = f"{len(facts.bad) or 'Too many'} LD channels are bad ({_some(facts.bad)}). Mend the "
        text += "cap" + ("." if facts.renders_on else ": nothing is rendered meanwhile.")
        return "too_many_bad", "Too many bad channels", text
    if facts.unfit:
        text = "LD channels do not go together as in calibration. Is this the wearer's bundle, and "
        return (
            "too_many_bad",
            "Does not fit",
            text + "every electrode in its place? HD may be wrong.",
        )
    if facts.bad:
        one = len(facts.bad) == 1
        text = f"{_some(facts.bad)} {'is' if one else 'are'} bad and filled from the others."
        return "running", "Running", text
    return "running", "Running", f"HD is served live{f' from{source}' if source else ''}."


def _for(age_s: float) -> str:
    return f" for {age_s:.0f} s" if age_s >= SILENT_S else ""


def _some(labels: tuple[str, ...]) -> str:
    return ", ".join(labels[:6]) + (", …" if len(labels) > 6 else "") if labels else "see quality"
