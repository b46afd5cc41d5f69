"""Learning the wearer's state live: blocks of LD in, changes of a folded operator out."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from calibration.population.changes import Change, changes_of
from calibration.population.state import fit_of, through_taps
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle, load_bundle, save_bundle
from emag_rt.core.ld_bands import BLOCK_S
from emag_rt.daemon.learner import Ended, Learned, News, Saved, receive, tell
from emag_rt.errors import CalibrationError, EmagError

_SMALLEST = 1e-9


class Follower:
    """Follows blocks of LD, always from the bundle as it was: nothing drifts.

    It is a :class:`emag_rt.daemon.learner.Learns`, in whatever process it runs.

    Parameters
    ----------
    bundle : Bundle
        What is served.
    path : Path
        Its file.
    positions_mm : ndarray, shape (n_out, 3)
        Electrodes that are rendered.
    taps : ndarray, shape (n_taps, n_lags)
        Of the operator in use, in which changes are given.
    weights : ndarray, shape (1, n_out, n_taps * n_ld)
        Its weights.
    rows : sequence of int
        Rendered electrodes, over which the size of a change is told.
    after_s, every_s : float
        LD needed for the first time, and new LD for each time after that; it learns from the
        last blocks of the longer of the two (without HD, of five minutes), and a second time once
        it has so many.
    population : str, optional
        File of the population of a bundle without HD, where it is none of the package's.
    save_in : str, optional
        Folder where the adapted bundle is saved; else that of its file.

    Raises
    ------
    CalibrationError
        If the bundle cannot be adapted.
    """

    def __init__(
        self,
        bundle: Bundle,
        path: Path,
        positions_mm: FloatArray,
        taps: FloatArray,
        weights: FloatArray,
        rows: Sequence[int],
        after_s: float,
        every_s: float,
        population: str | None = None,
        save_in: str | None = None,
    ) -> None:
        self._changes = changes_of(bundle, positions_mm, population)
        self._bundle, self._positions_mm = bundle, positions_mm
        self._path = path if save_in is None else Path(save_in, path.name)
        self._taps, self._weights, self._rows = taps, weights, list(rows)
        self._first = max(1, round(after_s / BLOCK_S))
        self._every = max(1, round(every_s / BLOCK_S))
        self._window = max(self._first, self._every)
        longest = max(self._window, round(self._changes.longest_s / BLOCK_S))
        self._blocks: deque[FloatArray] = deque(maxlen=longest)
        self._n_new, self._wanted, self._era = 0, self._first, 0
        self._adapted: Change | None = None
        self._news: deque[News] = deque()

    def news(self, timeout_s: float = 0.0) -> News | None:
        """What has come since, one at a time; there is nothing to wait for."""
        return self._news.popleft() if self._news else None

    def add(self, block: FloatArray, era: int) -> None:
        """Take two seconds of LD, and learn, once there is enough, while it fits the bundle.

        Parameters
        ----------
        block : ndarray, shape (n_times, n_ld)
            Filtered and reference-free, in µV, at 400 Hz at most.
        era : int
            Blocks of another one than before are not put together with those.
        """
        if era != self._era:
            self._blocks.clear()
            self._n_new, self._wanted, self._era = 0, self._first, era
        self._blocks.append(block)
        self._n_new += 1
        if self._n_new < self._wanted:
            return
        sfreq = len(block) / BLOCK_S
        found = fit_of(self._bundle, self._blocks, sfreq)
        if found is not None and not found.fits:
            return
        # Half a minute may be an odd one: again once there are as many blocks as it looks at.
        missing = max(0, self._window - len(self._blocks))
        self._n_new, self._wanted = 0, min(self._every, missing or self._every)
        self._news.append(self._learn(sfreq))

    def _learn(self, sfreq: float) -> Learned:
        found = self._changes.learn(self._blocks, sfreq)
        seconds = BLOCK_S * len(self._blocks)
        if found.matrices is None:
            return Learned(self._era, seconds, found.power_db)
        self._adapted = found
        change = self._in_taps(found.matrices)
        share = self._share(change, found.now)
        return Learned(self._era, seconds, found.power_db, share, change)

    def _in_taps(self, matrices: FloatArray) -> FloatArray:
        """Matrices, shape (n_lags, n_out, n_ld), in the operator's taps."""
        matrices = matrices[: self._taps.shape[1]]
        by_tap = np.tensordot(np.linalg.pinv(self._taps.T, rcond=_SMALLEST), matrices, axes=1)
        return np.swapaxes(by_tap, 0, 1).reshape(1, len(self._positions_mm), -1)

    def _share(self, change: FloatArray, now: FloatArray) -> float:
        """How large a change is on LD of the present spectrum, over what is rendered of it."""
        size = self._weights.shape[2]
        fed = np.zeros((size, size))
        bands = through_taps(self._taps.T, self._changes.edges_hz, self._bundle.model.sfreq)
        for (_, _, between), covariance in zip(bands, now, strict=True):
            fed += np.kron(between, covariance)
        parts = [part[0, self._rows] for part in (change, self._weights)]
        differs, renders = (float(np.einsum("ij,jk,ik->", p, fed, p, optimize=True)) for p in parts)
        return float(np.sqrt(differs / renders)) if renders > 0 else 0.0

    def save(self) -> None:
        """Save the bundle as it was adapted last, beside the first, over no other file."""
        try:
            self._news.append(Saved(str(self._saved())))
        except EmagError as error:
            self._news.append(Saved(why_not=str(error)))

    def _saved(self) -> Path:
        if self._adapted is None:
            raise CalibrationError("nothing was adapted yet.")
        path = self._path
        names = (f"{path.stem}-adapted-{i}{path.suffix}" for i in itertools.count(1))
        target = next(t for name in names if not (t := path.with_name(name)).exists())
        save_bundle(self._adapted.make(), target, new=True)
        return target


def follow(path: Path, told: IO[bytes], tells: IO[bytes]) -> None:
    """Learn from what a daemon tells, until it tells no more.

    Parameters
    ----------
    path : Path
        The bundle that it serves.
    told, tells : binary file
        Messages of :mod:`emag_rt.daemon.learner`.
    """
    begun = receive(told)
    if begun is None:
        return
    _, details, (positions_mm, taps, weights) = begun
    try:
        bundle = load_bundle(path)
        if bundle.sha256 != details.pop("sha256"):
            raise CalibrationError(f"{path} is another file than when serving began.")
        follower = Follower(bundle, path, positions_mm, taps, weights, **details)
    except EmagError as error:
        tell(tells, Ended(str(error)))
        return
    while (message := receive(told)) is not None:
        kind, era, arrays = message
        if kind == "save":
            follower.save()
        else:
            follower.add(arrays[0], era)
        while (news := follower.news()) is not None:
            tell(tells, news)
