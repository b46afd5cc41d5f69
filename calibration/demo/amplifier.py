"""An amplifier of the demonstration that somebody can spoil while it plays."""

from __future__ import annotations

import threading

import numpy as np

from emag_rt.array_types import Float32Array
from emag_rt.core.montage import Montage
from emag_rt.streams.lsl import LslSink, OutletSpec, local_clock

_CHUNK_S = 0.02
_LOOSE_UV = 400.0


class DemoAmplifier:
    """Plays LD channels over and over, as an LSL stream.

    Parameters
    ----------
    signal_uv : ndarray, shape (n_times, n_channels)
        In µV.
    montage : Montage
        The channels.
    origin_mm : tuple of float
        Centre of the sphere in MNE's head frame.
    sfreq : float
        Rate in Hz.
    source_id : str
        Of the stream; the same after each start.

    Attributes
    ----------
    loose : int or None
        Channel whose electrode has come off: it swings and hums.
    factor : float
        What samples are multiplied by; the declared unit stays µV.
    """

    def __init__(
        self,
        signal_uv: Float32Array,
        montage: Montage,
        origin_mm: tuple[float, float, float],
        sfreq: float,
        source_id: str,
    ) -> None:
        self._signal, self._sfreq = signal_uv, sfreq
        self._spec = OutletSpec(
            name="demo amplifier",
            source_id=source_id,
            labels=montage.labels,
            sfreq=sfreq,
            positions_mm=montage.positions_mm,
            origin_mm=origin_mm,
            model="demonstration",
            vendor={},
        )
        self.loose: int | None = None
        self.factor = 1.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def playing(self) -> bool:
        """Whether it is switched on."""
        return self._thread is not None

    def start(self) -> None:
        """Switch it on."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._play, name="demo amplifier")
        self._thread.start()

    def stop(self) -> None:
        """Switch it off; its stream is gone."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._thread = None

    def _play(self) -> None:
        sink = LslSink(self._spec)
        n = round(_CHUNK_S * self._sfreq)
        start, sent = local_clock(), 0
        # By absolute deadlines: a late chunk delays no other.
        while not self._stop.wait(max(0.0, start + (sent + n - 1) / self._sfreq - local_clock())):
            at = np.arange(sent, sent + n)
            rows = self._signal[at % len(self._signal)].copy()
            if self.loose is not None:
                seconds = at / self._sfreq
                hum = np.sin(2 * np.pi * 50.0 * seconds) + np.sin(2 * np.pi * 0.3 * seconds)
                rows[:, self.loose] = _LOOSE_UV * hum
            sink.push(rows * np.float32(self.factor), start + at / self._sfreq)
            sent += n
        sink.close()
