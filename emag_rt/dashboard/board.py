"""Everything a dashboard knows: written by the threads that read streams, read by the web side."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray, Samples
from emag_rt.daemon.status.outlet import BAD_REASONS
from emag_rt.dashboard.events import EventLog, details, read_event, stamp_of
from emag_rt.dashboard.outlet import HdOutlet, clean
from emag_rt.dashboard.rows import Latencies, RowBuffer, Rows
from emag_rt.dashboard.spectra import RecentRows
from emag_rt.dashboard.states import JUDGING, WRONG, Facts, Look, judge, look_at

_BAD = "bad:"


@dataclass(frozen=True, eq=False)
class Layout:
    """What browsers must know before they can draw.

    ``number`` is another with every change, ``run`` with every start of the daemon: samples of
    one run fit all of its layouts.
    """

    number: int = 0
    run: int = 0
    hd: HdOutlet | None = None
    ld_labels: tuple[str, ...] = ()
    ld_positions_mm: FloatArray = field(default_factory=lambda: np.empty((0, 3)))
    bad: frozenset[str] = frozenset()


class Board:
    """The newest of everything, guarded by one lock.

    Parameters
    ----------
    name : str
        The daemon's HD outlet.
    source : str
        What the daemon was told to read, for show.
    launched : bool
        Whether the daemon started this dashboard.
    ld_labels, ld_positions_mm : sequence of str, ndarray of shape (n_ld, 3)
        LD channels, where they are known before the outlet is there.
    clock : callable
        Seconds.
    """

    def __init__(
        self,
        name: str,
        source: str = "",
        launched: bool = False,
        ld_labels: Sequence[str] = (),
        ld_positions_mm: FloatArray | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._name, self._launched = name, launched
        self._source = source
        places = np.empty((0, 3)) if ld_positions_mm is None else ld_positions_mm
        self._layout = Layout(0, 0, None, tuple(ld_labels), places)
        self._hd = self._ld = RowBuffer(0, 0.0)
        self._recent_hd = self._recent_raw = RecentRows(0, 0.0)
        self._look = Look()
        self._latencies = Latencies()
        self._numbers: dict[str, float] = {}
        self._reasons: dict[str, str] = {}
        self._events = EventLog()
        self._open = self._seen = self._said_stopped = self._said_silent = self._dead = False
        self._too_many = self._judged = self._unfit = False
        self._wrong = ("", "")
        self._hd_at: float | None = None
        self._status_at: float | None = None
        self._trouble = ""
        self._ld_note = ""

    @property
    def layout(self) -> Layout:
        """What is drawn."""
        return self._layout

    def hd_opened(
        self, hd: HdOutlet, ld_labels: Sequence[str], ld_positions_mm: FloatArray
    ) -> None:
        """The daemon's outlet is there; everything of an earlier run is forgotten but events."""
        with self._lock:
            number, run = self._layout.number + 1, self._layout.run + 1
            self._layout = Layout(number, run, hd, tuple(ld_labels), ld_positions_mm)
            self._hd = RowBuffer(len(hd.labels), hd.sfreq)
            self._ld = RowBuffer(len(ld_labels), hd.sfreq)
            self._recent_hd = RecentRows(len(hd.labels), hd.sfreq)
            self._recent_raw = RecentRows(len(ld_labels), hd.sfreq)
            self._look = Look()
            self._latencies, self._numbers, self._reasons = Latencies(), {}, {}
            self._open = self._seen = True
            self._said_stopped = self._said_silent = self._dead = False
            self._too_many = self._judged = self._unfit = False
            self._wrong = ("", "")
            self._hd_at = self._status_at = None
            self._source = clean(hd.input_source_id or hd.input_name) or self._source
            self._trouble = ""

    def hd_rows(self, rows: Samples, stamps: FloatArray, now: float | None) -> None:
        """HD samples came; at ``now`` on the clock of the stamps, if they were waited for."""
        with self._lock:
            self._hd.add(rows, stamps)
            self._recent_hd.add(rows)
            self._hd_at = self._clock()
            self._said_silent = False
            if now is not None:
                # Rows without a number fill gaps, and come as late as the source was away.
                self._latencies.add(now - stamps[~np.isnan(rows).all(axis=1)])

    def hd_lost(self) -> None:
        """The daemon's outlet has gone."""
        with self._lock:
            self._open = False

    def ld_rows(self, rows: Samples, stamps: FloatArray, raw: Samples) -> None:
        """Filtered LD samples came, and the same as the amplifier sent them; both in µV."""
        with self._lock:
            self._ld.add(rows, stamps)
            self._recent_raw.add(raw)

    def ld_places(self, positions_mm: FloatArray) -> None:
        """Where the LD channels are, shape (n_ld, 3), when that was learned later."""
        with self._lock:
            known = self._layout
            self._layout = replace(known, number=known.number + 1, ld_positions_mm=positions_mm)

    def note(self, *, trouble: str | None = None, ld: str | None = None) -> None:
        """Say why the daemon, or the LD stream, cannot be read; an empty text when it can."""
        with self._lock:
            self._trouble = self._trouble if trouble is None else clean(trouble, 400)
            self._ld_note = self._ld_note if ld is None else clean(ld, 400)

    def status(self, numbers: dict[str, float]) -> None:
        """The status outlet spoke: values by label."""
        with self._lock:
            self._numbers = numbers
            self._status_at = self._clock()
            verdicts = {k[len(_BAD) :]: v for k, v in numbers.items() if k.startswith(_BAD)}
            if verdicts:
                self._judged = True
                self._set_bad({label: _reason(v) for label, v in verdicts.items() if v > 0})
            if "unfit" in numbers:
                self._unfit = numbers["unfit"] > 0
            if "too_many_bad" in numbers:
                self._too_many = numbers["too_many_bad"] > 0

    def event(self, text: str, stamp: float = math.nan, offset_s: float = 0.0) -> None:
        """A marker of the daemon came; text that is no event of emag_rt is shown as it is.

        Its stamp, and those in it, are on a clock that ``offset_s`` brings to that of the rows.
        """
        kind, event = read_event(text)
        with self._lock:
            self._events.add(kind, details(event), stamp_of(event, stamp) + offset_s)
            self._obey(kind, event)

    def mark(self, text: str, origin: str, stamp: float) -> None:
        """A marker of another program came, such as a stimulus; it changes no state."""
        with self._lock:
            self._events.add(text, origin, stamp)

    def _obey(self, kind: str, event: dict[str, Any]) -> None:
        label = str(event.get("channel", ""))
        if kind == "stopped":
            self._said_stopped = True
        elif kind in ("silent", "recovered"):
            self._said_silent = kind == "silent"
            self._wrong = ("", "")  # whatever comes now is judged anew
        elif kind in WRONG:
            title, words = WRONG[kind]
            self._wrong = title, clean(words(event), 400)
        elif kind in ("amplifier_dead", "amplifier_back"):
            self._dead = kind == "amplifier_dead"
        elif kind in ("ld_misfit", "ld_fits"):
            self._unfit = kind == "ld_misfit"
        elif kind in ("too_many_bad", "enough_good"):
            self._too_many = kind == "too_many_bad"
        elif kind == "bad_channel":
            self._set_bad({**self._reasons, label: str(event.get("reason", ""))})
        elif kind == "good_channel":
            self._set_bad({k: v for k, v in self._reasons.items() if k != label})

    def _set_bad(self, reasons: dict[str, str]) -> None:
        known = self._layout
        reasons = {label: clean(why) for label, why in reasons.items() if label in known.ld_labels}
        self._reasons = reasons
        if frozenset(reasons) != known.bad:
            self._layout = replace(known, number=known.number + 1, bad=frozenset(reasons))

    def recent_rows(self) -> tuple[int, Float32Array, Float32Array, float]:
        """Number of the run; HD and unfiltered LD rows of the newest seconds; their rate in Hz."""
        with self._lock:
            run, hd, raw = self._layout.run, self._recent_hd, self._recent_raw
            return run, hd.rows(), raw.rows(), hd.sfreq

    def look(self) -> None:
        """Judge the rows of the newest seconds: worth doing once a second."""
        run, hd, raw, sfreq = self.recent_rows()
        layout = self._layout
        if layout.hd is None or layout.run != run:
            return
        found = look_at(hd, raw, np.array(layout.hd.kinds) != "measured", sfreq)
        with self._lock:
            if self._layout.run == run:
                self._look = found

    def take_rows(self) -> tuple[int, Rows, Rows]:
        """Number of the run, and the HD and LD rows since the last call, which are gone then."""
        with self._lock:
            return self._layout.run, self._hd.take(), self._ld.take()

    def state(self) -> dict[str, Any]:
        """Everything but samples, for JSON."""
        with self._lock:
            facts = self._facts()
            state, title, text = judge(facts)
            hd = self._layout.hd
            judged = self._judged and state in JUDGING
            return {
                "state": state,
                "title": title,
                "text": text,
                "name": self._name,
                "source": self._source,
                "facts": hd.facts if hd else {},
                "numbers": {k: _finite(v) for k, v in self._numbers.items() if _BAD not in k},
                "judged": judged,
                "unrendered": facts.unrendered,
                "quality": [
                    {"label": clean(label), "bad": label in self._reasons, "reason": reason}
                    for label in self._layout.ld_labels
                    for reason in [self._reasons.get(label, "")]
                ],
                "latency": self._latencies.histogram(),
                "events": self._events.as_list(),
                "n_events": self._events.count,
                "ld_note": self._ld_note,
            }

    def _facts(self) -> Facts:
        now, hd = self._clock(), self._layout.hd
        return Facts(
            name=self._name,
            source=self._source,
            launched=self._launched,
            open=self._open,
            seen=self._seen,
            said_stopped=self._said_stopped,
            said_silent=self._said_silent,
            hd_age_s=None if self._hd_at is None else now - self._hd_at,
            status_age_s=None if self._status_at is None else now - self._status_at,
            hold_s=hd.hold_s if hd else 0.0,
            status_interval_s=hd.status_interval_s if hd else 1.0,
            dead=self._dead,
            wrong=self._wrong,
            look=self._look,
            too_many_bad=self._too_many,
            renders_on=hd is not None and hd.renders_on,
            unfit=self._unfit,
            bad=tuple(clean(x) for x in self._layout.ld_labels if x in self._reasons),
            trouble=self._trouble,
        )


def _reason(code: float) -> str:
    number = int(code) - 1 if np.isfinite(code) else -1
    return BAD_REASONS[number] if 0 <= number < len(BAD_REASONS) else "another reason"


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
