"""Reads a daemon's outlets and its source, and takes them up again whenever they come back."""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from collections.abc import Callable

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.labels import canonical, match_labels
from emag_rt.dashboard.board import Board
from emag_rt.dashboard.outlet import (
    MAX_CHANNELS,
    HdOutlet,
    channels_of,
    clean,
    positions_of,
    read_hd_outlet,
)
from emag_rt.errors import (
    EmagError,
    StreamAmbiguous,
    StreamError,
    StreamMismatch,
    StreamNotFound,
)
from emag_rt.frontend.filters import CausalFilter, design_band
from emag_rt.frontend.units import unit_to_uv
from emag_rt.streams.lsl import (
    LslMarkerReader,
    LslMarkerSource,
    LslSource,
    StreamQuery,
    find_stream,
    local_clock,
)

log = logging.getLogger(__name__)
_PULL_S = 0.1
# Between two looks at a stream. Samples are taken many at a time, so that receiving costs little.
_REST_S = 0.012
_LOOK_S = 2.0
_AGAIN_S = 1.0


class Feed(threading.Thread):
    """Finds the daemon's HD outlet, reads all that belongs to it, and again when it comes anew.

    Parameters
    ----------
    board : Board
        Where everything goes.
    name : str
        The HD outlet.
    unit : str or None
        Unit of the LD stream, over what it declares.
    known : dict of str to ndarray
        Positions of LD channels in mm by label, where they are known from a bundle.
    hostname : str, optional
        Host whose daemon is meant; any by default.
    bundle_sha256 : str, optional
        Bundle that must be served; any by default. Names are easily taken twice, and nobody must
        see one subject's EEG in the place of another's.
    """

    def __init__(
        self,
        board: Board,
        name: str,
        unit: str | None,
        known: dict[str, FloatArray],
        hostname: str | None = None,
        bundle_sha256: str | None = None,
    ) -> None:
        super().__init__(name="feed", daemon=True)
        self._board, self._name, self._unit = board, name, unit
        self._hostname, self._bundle_sha256 = hostname, bundle_sha256
        self._troubled = False
        self._known = {canonical(label): place for label, place in known.items()}
        self._over = threading.Event()
        self._served_by = ""

    def stop(self) -> None:
        """End all reading; returns when it has ended."""
        self._over.set()
        self.join(10.0)

    def run(self) -> None:
        """Read until stopped."""
        while not self._over.is_set():
            try:
                source = self._find()
                if source is not None:
                    self._attend(source)
            except (StreamAmbiguous, StreamMismatch) as error:
                own = isinstance(error, StreamAmbiguous) and self._bundle_sha256 is not None
                # First, for a long list of streams is cut.
                self._say(f"{'Give each serve its own --name: ' if own else ''}{error}")
                self._over.wait(_LOOK_S)
            except EmagError as error:
                log.debug("%s", error)
                self._over.wait(0.2)
            except Exception:  # said, and tried again: a frozen picture would look like a calm one
                log.exception("the daemon's outlets could not be read")
                self._say("An error in the dashboard: see its log. Trying again.")
                self._over.wait(_LOOK_S)

    def _say(self, trouble: str) -> None:
        self._troubled = bool(trouble)
        self._board.note(trouble=trouble)

    def _find(self) -> LslSource | None:
        """Wait for the outlet and connect; None when told to stop, or when trouble has gone."""
        query = StreamQuery(name=self._name, type="EEG", hostname=self._hostname)
        until = time.monotonic() + _LOOK_S if self._troubled else math.inf
        try:
            found = find_stream(
                query, math.inf, stop=lambda: self._over.is_set() or time.monotonic() > until
            )
        except StreamNotFound:
            self._say("")
            return None
        if found.format.n_channels > MAX_CHANNELS:
            raise StreamMismatch(
                f"stream {self._name!r}: must have at most {MAX_CHANNELS} channels to be shown, "
                f"got {found.format.n_channels}. Serve a smaller montage."
            )
        source = LslSource(found, recover=False)
        try:
            self._check(source)
        except EmagError:
            source.close()
            raise
        return source

    def _check(self, source: LslSource) -> None:
        """Refuse an outlet of the right name that is another daemon's."""
        if self._bundle_sha256 is None:
            return
        served = read_hd_outlet(source.format, source.description()).bundle_sha256
        if served != self._bundle_sha256:
            raise StreamMismatch(
                f"stream {self._name!r}: must serve the bundle {self._bundle_sha256[:12]}, got "
                f"{clean(served[:12]) or 'none'}: it is another daemon's and not shown. Give each "
                "its own --name."
            )

    def _attend(self, source: LslSource) -> None:
        """Read one run of the daemon to its end."""
        gone = threading.Event()
        helpers: list[threading.Thread] = []
        try:
            hd = read_hd_outlet(source.format, source.description())
            self._served_by = source.format.hostname
            self._board.hd_opened(hd, hd.ld_labels, self._places(hd))
            self._troubled = False
            for target in (self._read_status, self._read_events, self._read_ld, self._read_marks):
                helper = threading.Thread(target=_quietly, args=(target, hd, gone), daemon=True)
                helper.start()
                helpers.append(helper)
            while not self._over.is_set():
                self._pull_hd(source)
                self._over.wait(_REST_S)
        except StreamError as error:
            log.debug("%s", error)
        finally:
            self._board.hd_lost()
            gone.set()
            source.close()
            for helper in helpers:
                helper.join(10.0)

    def _pull_hd(self, source: LslSource) -> None:
        """What waited since the last time, and then one chunk that is timed as it comes."""
        samples, stamps = source.pull(0.0)
        if len(stamps):
            self._board.hd_rows(samples, stamps, None)
        samples, stamps = source.pull(_PULL_S)
        if len(stamps):
            self._board.hd_rows(samples, stamps, local_clock())

    def _places(self, hd: HdOutlet) -> FloatArray:
        """Positions of the LD channels: of the bundle, else of the HD channels of their names."""
        known = dict(zip(map(canonical, hd.labels), hd.positions_mm, strict=True)) | self._known
        unknown = np.full(3, np.nan)
        places = [known.get(canonical(label), unknown) for label in hd.ld_labels]
        return np.array(places).reshape(-1, 3)

    def _read_status(self, hd: HdOutlet, gone: threading.Event) -> None:
        query = StreamQuery(source_id=f"{hd.source_id}:status")
        found = find_stream(query, math.inf, stop=gone.is_set)
        source = LslSource(found, recover=False)
        labels = source.format.labels
        while not gone.is_set():
            values, stamps = source.pull(_PULL_S)
            if len(stamps):
                numbers = (float(v) for v in values[-1])
                self._board.status(dict(zip(labels, numbers, strict=False)))

    def _read_events(self, hd: HdOutlet, gone: threading.Event) -> None:
        query = StreamQuery(source_id=f"{hd.source_id}:markers")
        events = LslMarkerSource(query, math.inf, stop=gone.is_set)
        while True:  # what came before the end counts, the end above all
            event = events.pull(_PULL_S)
            if event is not None:
                self._board.event(*event, _offset(self._served_by, event[1]))
            elif gone.is_set():
                return

    def _read_marks(self, _hd: HdOutlet, gone: threading.Event) -> None:
        """Markers of other programs in sight, such as stimuli."""
        reader, looked_at = LslMarkerReader(), -math.inf
        try:
            while not gone.is_set():
                if time.monotonic() - looked_at > _LOOK_S:
                    reader.look()
                    looked_at = time.monotonic()
                for marker in reader.pull():
                    self._board.mark(marker.text, marker.stream, marker.stamp)
                gone.wait(_PULL_S)
        finally:
            reader.close()

    def _read_ld(self, hd: HdOutlet, gone: threading.Event) -> None:
        """The source itself, as the daemon sees it: its channels, in µV, filtered alike."""
        if not hd.ld_labels or not (hd.input_source_id or hd.input_name):
            self._board.note(ld="The HD outlet does not name its source: no LD is shown.")
            gone.wait()
            return
        query = StreamQuery(hd.input_source_id or None, hd.input_name or None)
        while not gone.is_set():
            # A player that starts with its first receiver must not take us for the daemon.
            if self._board.state()["state"] in ("waiting", "silent", "unresponsive", "stopped"):
                gone.wait(0.1)
                continue
            try:
                source = LslSource(find_stream(query, _LOOK_S, stop=gone.is_set), recover=False)
                self._follow_ld(hd, source, gone)
            except EmagError as error:
                log.debug("%s", error)
                # Away, or gone again: the state says so.
                if type(error) not in (StreamNotFound, StreamError):
                    self._board.note(ld=f"LD cannot be shown: {error}")
                gone.wait(0.5)

    def _follow_ld(self, hd: HdOutlet, source: LslSource, gone: threading.Event) -> None:
        head = source.format
        labels = head.labels or hd.ld_labels
        columns = match_labels(hd.ld_labels, labels, f"stream {head.name!r}")
        declared = head.units or ("",) * head.n_channels
        factors = [unit_to_uv(self._unit or declared[c] or "microvolts") for c in columns]
        run: Callable[[FloatArray], FloatArray] = np.copy
        if hd.band_hz is not None:
            run = CausalFilter(design_band(*hd.band_hz, hd.sfreq), len(columns)).process
        if np.isnan(self._board.layout.ld_positions_mm).all():
            self._tell_places(hd, source, columns)
        self._board.note(ld="")
        while not gone.is_set():
            samples, stamps = source.pull(_PULL_S)
            if len(stamps):
                raw = samples[:, columns] * np.array(factors)
                self._board.ld_rows(run(raw), stamps, raw)
            gone.wait(_REST_S)

    def _tell_places(self, hd: HdOutlet, source: LslSource, columns: list[int]) -> None:
        """Take the positions that the source itself declares, where nobody else knows them."""
        channels = channels_of(source.description())
        if len(channels) == source.format.n_channels:
            self._board.ld_places(positions_of(channels)[columns])


def _offset(hostname: str, stamp: float) -> float:
    """From another host's clock to ours, roughly: a marker is taken to have come at once."""
    return 0.0 if hostname == socket.gethostname() else local_clock() - stamp


def _quietly(
    target: Callable[[HdOutlet, threading.Event], None], hd: HdOutlet, gone: threading.Event
) -> None:
    """Run a helper for as long as the HD outlet is there; a companion may go and come back."""
    said = False
    while not gone.is_set():
        try:
            target(hd, gone)
        except EmagError as error:
            log.debug("%s", error)
        except Exception:
            if not said:
                log.exception("a companion of the HD outlet could not be read: trying again")
            said = True
        gone.wait(_AGAIN_S)
