"""What is seen of a live recording: a picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from calibration.live.parts import Counts
from calibration.live.quality import Finding

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

_PLAIN_EVERY_S = 10.0
_MAX_ROWS = 12


@dataclass(frozen=True)
class LiveState:
    """How a recording stands.

    Attributes
    ----------
    phase : str
        What is going on.
    seconds, wanted_s : float
        Signal recorded, and wanted, in s.
    n_channels : int
        EEG channels.
    findings : sequence of Finding
        Bad channels now.
    counts : Counts
        What happened so far.
    n_markers : int
        Events so far.
    time_s : float
        Time on some clock.
    """

    phase: str
    seconds: float
    wanted_s: float
    n_channels: int
    findings: Sequence[Finding]
    counts: Counts
    n_markers: int
    time_s: float

    @property
    def summary(self) -> str:
        """One line of figures."""
        n_bad = self.n_channels if self._all_bad else len(self._single)
        parts = [
            f"{self.seconds:.0f} of {self.wanted_s:.0f} s",
            f"{self.n_channels - n_bad} of {self.n_channels} channels good",
        ]
        if self.counts.gaps:
            parts.append(f"{self.counts.gaps} gaps")
        if self.n_markers:
            parts.append(f"{self.n_markers} markers")
        return ", ".join(parts)

    @property
    def _single(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.label]

    @property
    def _all_bad(self) -> bool:
        return any(not f.label and f.kind != "line noise" for f in self.findings)


class Display(Protocol):
    """Where a recording shows how it goes."""

    def say(self, text: str) -> None:
        """Something that must not be missed."""

    def update(self, state: LiveState) -> None:
        """How it stands; called about twice a second."""


class PlainDisplay:
    """Lines on the error stream: every ten seconds, and when something changes.

    Parameters
    ----------
    quiet : bool
        Only what must not be missed.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._phase = ""
        self._known: set[tuple[str, str]] = set()
        self._said_at = float("-inf")

    def say(self, text: str) -> None:
        """Write a line."""
        print(text, file=sys.stderr, flush=True)

    def update(self, state: LiveState) -> None:
        """Write what is new."""
        if self._quiet:
            return
        if state.phase != self._phase or state.time_s - self._said_at >= _PLAIN_EVERY_S:
            self._phase, self._said_at = state.phase, state.time_s
            self.say(f"{state.phase}: {state.summary}")
        now = {(f.label, f.kind): f for f in state.findings}
        for key, finding in now.items():
            if key not in self._known:
                self.say(f"  {finding.advice}" + (f" ({finding.detail})" if finding.detail else ""))
        good = {label for label, _ in self._known} - {label for label, _ in now}
        for label in sorted(good):
            self.say(f"  {label or 'all channels'}: good again")
        self._known = set(now)


class RichDisplay:
    """A bar, figures and a table of bad channels, drawn anew twice a second."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def say(self, text: str) -> None:
        """Print above the picture."""
        self._live.console.print(text, markup=False, highlight=False)

    def update(self, state: LiveState) -> None:
        """Draw."""
        self._live.update(picture(state), refresh=True)


def picture(state: LiveState) -> RenderableType:
    """The live display as something that rich draws."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 2), expand=True)
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True)
    bar = ProgressBar(total=state.wanted_s, completed=min(state.seconds, state.wanted_s))
    head.add_row(Text(state.phase, style="bold"), bar, Text(state.summary))
    parts: list[RenderableType] = [head]
    if state.findings:
        table = Table(box=None, padding=(0, 2, 0, 0))
        table.add_column("what to do", style="yellow")
        table.add_column("")
        for finding in state.findings[:_MAX_ROWS]:
            table.add_row(Text(finding.advice), Text(finding.detail))
        if len(state.findings) > _MAX_ROWS:
            table.add_row(f"... and {len(state.findings) - _MAX_ROWS} more", "")
        parts.append(table)
    elif state.seconds >= 2:
        parts.append(Text("all channels look good", style="green"))
    parts.append(Text("q or Ctrl-C: stop here and fit; Ctrl-C twice: give up", style="dim"))
    return Group(*parts)


@contextlib.contextmanager
def open_display(quiet: bool) -> Iterator[Display]:
    """The display that fits where the error stream leads.

    Parameters
    ----------
    quiet : bool
        Only what must not be missed.

    Yields
    ------
    Display
        Picture or lines.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield PlainDisplay(quiet)
        return
    with Live(console=console, auto_refresh=False, redirect_stdout=False) as live:
        yield RichDisplay(live)
