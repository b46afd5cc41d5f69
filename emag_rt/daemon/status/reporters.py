"""Who is told how a daemon goes: file, HTTP, systemd; outlet and terminal once it serves."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Protocol

from emag_rt import __version__
from emag_rt.daemon.settings import HttpSettings, ServeSettings
from emag_rt.daemon.status.counters import ServerStatus
from emag_rt.daemon.status.file import StatusFile
from emag_rt.daemon.status.outlet import StatusOutlet
from emag_rt.daemon.status.systemd import Notifier
from emag_rt.daemon.status.terminal import LiveView, tell
from emag_rt.engine.upsampler import Upsampler
from emag_rt.streams.lsl import LslSink, local_clock
from emag_rt.streams.metadata import OutletSpec

if TYPE_CHECKING:
    from emag_rt.daemon.loop import Server
    from emag_rt.daemon.status.prometheus import Vitals


class Reporter(Protocol):
    """Told how it goes, once per ``status.interval_s``, and once more at the end."""

    def __call__(self, status: ServerStatus) -> None:
        """Tell."""

    def finish(self, status: ServerStatus) -> None:
        """Tell the last status."""


class Reporters:
    """All of them.

    What needs no source is opened before waiting for one, so that what cannot be opened is said
    at once, and nothing of an earlier start is taken for news.

    Parameters
    ----------
    settings : ServeSettings
        Where to say how it goes.
    upsampler : Upsampler
        What is served.
    stack : contextlib.ExitStack
        Closes them.
    """

    def __init__(
        self, settings: ServeSettings, upsampler: Upsampler, stack: contextlib.ExitStack
    ) -> None:
        status = settings.status
        self._all: list[Reporter] = []
        self._stack = stack
        self._ld_labels = [e.label for e in upsampler.bundle.manifest.ld]
        self._vitals: Vitals | None = None
        if status.json_path:
            self._all.append(stack.enter_context(StatusFile(status.json_path)))
        if settings.http.port is not None:
            self._vitals = self._serve_pages(settings.http, upsampler)
            self._all.append(self._vitals)
        self._notifier = Notifier.from_environment(status.interval_s)
        if self._notifier is not None:
            stack.callback(self._notifier.close)
            self._notifier.waiting()
            self._all.append(self._notifier)

    def waiting(self) -> None:
        """Say that looking for the source goes on."""
        if self._vitals is not None:
            self._vitals.beat()

    def add_outlet(self, spec: OutletSpec) -> None:
        """Report on a numeric outlet beside the one of ``spec``."""
        outlet = StatusOutlet(spec.name, spec.source_id, local_clock, LslSink, self._ld_labels)
        self._stack.callback(outlet.close)
        self._all.append(outlet)

    def add_terminal(self, name: str) -> None:
        """Report to a person who looks on, if there is one."""
        if sys.stderr.isatty():
            self._all.append(self._stack.enter_context(LiveView(name)))

    def serving(self, server: Server) -> None:
        """Say that samples are served."""
        if self._vitals is not None:
            self._vitals.follow(lambda: server.heartbeat, lambda: server.state)
        if self._notifier is not None:
            self._notifier.ready()

    def __call__(self, status: ServerStatus) -> None:
        """Tell all."""
        for report in self._all:
            report(status)

    def finish(self, status: ServerStatus) -> None:
        """Tell all the last status."""
        for report in self._all:
            report.finish(status)

    def _serve_pages(self, http: HttpSettings, upsampler: Upsampler) -> Vitals:
        # Imported by those who ask for it alone: it takes a tenth of a second.
        from emag_rt.daemon.status.http import PageServer
        from emag_rt.daemon.status.prometheus import Vitals

        assert http.port is not None
        build = {
            "version": __version__,
            "bundle_sha256": upsampler.bundle.sha256[:12],
            "engine": upsampler.engine,
        }
        vitals = Vitals(local_clock, self._ld_labels, build)
        pages = self._stack.enter_context(PageServer(http.host, http.port, vitals.pages()))
        tell(f"http: {pages.url}")
        return vitals
