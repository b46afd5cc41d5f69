"""What is published for time without a rendering: NaN, the last row held, or nothing."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import Float32Array
from emag_rt.daemon.events import Event
from emag_rt.daemon.pieces import Piece
from emag_rt.daemon.settings import GapSettings


class GapPolicy:
    """Makes up rows where there is no rendering.

    Parameters
    ----------
    settings : GapSettings
        Policy and its limit.
    sfreq : float
        Rate of the stream in Hz.
    """

    def __init__(self, settings: GapSettings, sfreq: float) -> None:
        self._policy = settings.policy
        self._n_most = 0 if settings.policy == "skip" else round(settings.max_fill_s * sfreq)

    def fill(self, piece: Piece, held: Float32Array) -> tuple[Float32Array, Event]:
        """Rows for the beginning of a gap.

        Parameters
        ----------
        piece : Piece
            The gap.
        held : ndarray, shape (1, n_hd), float32
            The last rendered row.

        Returns
        -------
        rows : ndarray, shape (n_filled, n_hd), float32
            For the first of the missing stamps.
        event : Event
            What to tell.
        """
        n_missing = len(piece.stamps)
        n_filled = min(n_missing, self._n_most)
        rows = np.full((n_filled, held.shape[1]), np.nan, dtype=np.float32)
        text = (
            f"gap of {piece.apart_s:.3f} s: {n_filled} of {n_missing} missing samples filled with "
            f"{self._policy}"
        )
        details = {"stamp": float(piece.stamps[0]), "samples": n_missing, "filled": n_filled}
        return self.replace(rows, held), Event("gap", details, text)

    def go_on(self, n: int, held: Float32Array) -> Float32Array:
        """Rows while the source is silent: ``n`` of them, without a limit."""
        return self.replace(np.full((n, held.shape[1]), np.nan, dtype=np.float32), held)

    def replace(self, rows: Float32Array, held: Float32Array) -> Float32Array:
        """Put what the policy says in place of rows that are NaN; changes ``rows``."""
        if self._policy == "hold":
            rows[np.isnan(rows[:, 0])] = held
        return rows
