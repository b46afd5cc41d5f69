"""From the board to every browser that looks on: a beat, and short queues."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from typing import Any

import numpy as np

from emag_rt.dashboard.board import Board
from emag_rt.dashboard.spectra import Spectra, spectra
from emag_rt.dashboard.wire import Drawing, Drawings, pack_samples, pack_spectra

log = logging.getLogger(__name__)
BEAT_S = 1 / 60
_AGAIN_S = 1.0
_FAILED = "What is shown stands still: an error in the dashboard, see its log. Trying again."
_STATE_S = 0.25
_LOOK_S = 1.0
MAX_VIEWERS = 8
# A tenth of a second; a browser that falls behind further misses samples and goes on.
_QUEUE = 6


class Viewer:
    """One browser: what waits to be sent to it.

    Never more than a drawing, a state, spectra and six frames.
    """

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque(maxlen=_QUEUE)
        self._drawing: Drawing | None = None
        self._state: str | None = None
        self._spectra: bytes | None = None
        self._news = asyncio.Event()
        self.dropped = 0
        self._told = 0

    def show(self, drawing: Drawing) -> None:
        """Put a drawing in the place of the one before."""
        self._drawing = drawing
        self._news.set()

    def say(self, state: str) -> None:
        """Put a state in the place of the one before."""
        self._state = state
        self._news.set()

    def show_spectra(self, spectra: bytes) -> None:
        """Put spectra in the place of those before."""
        self._spectra = spectra
        self._news.set()

    def offer(self, frame: bytes) -> None:
        """Queue a frame; the oldest is dropped when the browser does not keep up."""
        if len(self._frames) == self._frames.maxlen:
            self.dropped += 1
        self._frames.append(frame)
        self._news.set()

    async def next(self) -> list[str | bytes]:
        """Wait for news and take them, in the order in which they make sense."""
        await self._news.wait()
        self._news.clear()
        found: list[str | bytes] = []
        if self._drawing is not None:
            found += [self._drawing.text, *self._drawing.blobs]
            self._drawing = None
        if self._state is not None:
            found.append(self._state)
            self._state = None
        if self._spectra is not None:
            found.append(self._spectra)
            self._spectra = None
        if self.dropped != self._told:
            self._told = self.dropped
            found.append(json.dumps({"type": "dropped", "frames": self.dropped}))
        found += self._frames
        self._frames.clear()
        return found


class Hub:
    """Takes what is new off the board, sixty times a second while somebody looks on.

    Parameters
    ----------
    board : Board
        What there is to show.
    """

    def __init__(self, board: Board) -> None:
        self._board = board
        self._drawings = Drawings()
        self._drawing: Drawing | None = None
        self._state = ""
        self._spectra = b""
        self.viewers: set[Viewer] = set()

    def join(self) -> Viewer | None:
        """A new viewer, which gets all there is at once; None when there are too many."""
        if len(self.viewers) >= MAX_VIEWERS:
            return None
        viewer = Viewer()
        if self._drawing is not None:
            viewer.show(self._drawing)
        if self._state:
            viewer.say(self._state)
        self.viewers.add(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Forget a viewer."""
        self.viewers.discard(viewer)

    async def run(self) -> None:
        """Beat, and look at the rows, until cancelled."""
        await asyncio.gather(self._beat(), self._look_on())

    async def _look_on(self) -> None:
        """Spectra take time, but not the beat's; of thousands of channels they come less often."""
        failing = False
        while True:
            took_s = 0.0
            try:
                if self.viewers:
                    took_s = await asyncio.to_thread(self._look)
                    for viewer in self.viewers if self._spectra else ():
                        viewer.show_spectra(self._spectra)
            except Exception:  # whether rows come is told elsewhere
                if not failing:
                    log.exception("the newest rows could not be judged")
                failing = True
            await asyncio.sleep(_LOOK_S + 10.0 * took_s)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        told_at, failing = -1.0, False
        while True:
            begun = loop.time()
            try:
                await self._draw()
                if begun - told_at >= _STATE_S:
                    self._say({"type": "state", **self._board.state()})
                    told_at = begun
                self._pass_rows()
            except Exception:  # a page that stands still must not look like a calm one
                if not failing:
                    log.exception("the dashboard's pages could not be brought up to date")
                failing, told_at = True, -1.0
                self._say({"type": "error", "text": _FAILED})
                await asyncio.sleep(_AGAIN_S)
                continue
            failing = False
            rest = BEAT_S if self.viewers else 0.1
            await asyncio.sleep(max(0.001, rest - (loop.time() - begun)))

    async def _draw(self) -> None:
        layout = self._board.layout
        if self._drawing is None or self._drawing.number != layout.number:
            # A map takes time, but not the loop's.
            self._drawing = await asyncio.to_thread(self._drawings.make, layout)
            for viewer in self.viewers:
                viewer.show(self._drawing)

    def _say(self, message: dict[str, Any]) -> None:
        self._state = json.dumps(message)
        for viewer in self.viewers:
            viewer.say(self._state)

    def _pass_rows(self) -> None:
        run, hd, ld = self._board.take_rows()
        if self.viewers and (len(hd[1]) or len(ld[1])):
            frame = pack_samples(run, hd, ld)
            for viewer in self.viewers:
                viewer.offer(frame)

    def _look(self) -> float:
        """Judge the newest seconds and pass on their spectra; returns the processor's time in s."""
        begun = time.thread_time()
        self._board.look()
        run, hd, ld, sfreq = self._board.recent_rows()
        served, raw = spectra(hd, sfreq), spectra(ld, sfreq)
        if served is not None:
            found = pack_spectra(run, served, raw or Spectra(np.empty(0), np.empty((0, 0))))
            self._spectra = found
        return time.thread_time() - begun
