"""What rendered channels lack beside measured ones, and the noise that has it.

An estimate is quieter than what it estimates, and smoother over the head. ``matched`` puts its
covariance right by one matrix over the channels; ``simulated`` adds noise with what is missing
then, in covariance and spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.core.folding import PackedOperator

Statistics = Literal["estimate", "matched", "simulated"]
MODES: tuple[str, ...] = get_args(Statistics)
_SETTLING = 1000
"""Samples thrown away before the first: the noise starts as it goes on."""


@dataclass(frozen=True, eq=False)
class OutputStatistics:
    """From the statistics of an estimate to those of a measurement.

    Attributes
    ----------
    transport : ndarray, shape (n_hd, n_hd)
        Map over the channels, relative to the LD mean: the identity where nothing was learned.
    mixing : ndarray, shape (n_hd, n_parts)
        Noise in the channels, in µV, of parts that have variance 1; rows of zeros have none.
    reflection : ndarray, shape (n_parts, n_order)
        Spectrum of each part: reflection coefficients of an autoregression, within (-1, 1), so
        that it is stable whatever they are.
    cost : float
        What ``matched`` adds to the squared error, over that of the estimate.
    noise_cost : float
        What the noise adds besides.
    """

    transport: FloatArray
    mixing: FloatArray
    reflection: FloatArray
    cost: float
    noise_cost: float

    def error_factor(self, mode: str, mix: float) -> float:
        """Expected squared error in a mode, over that of the estimate."""
        costs = {"estimate": 0.0, "matched": self.cost, "simulated": self.cost + self.noise_cost}
        return 1.0 + mix**2 * costs[mode]

    def matched(self, operator: PackedOperator, mix: float, rows: Sequence[int]) -> PackedOperator:
        """Fold the map into an operator.

        Parameters
        ----------
        operator : PackedOperator
            For all ``n_hd`` channels.
        mix : float
            From 0 (the estimate) to 1 (the map).
        rows : sequence of int
            Channels to keep, in this order.
        """
        one = np.eye(len(self.transport))
        blend = (one + mix * (self.transport - one))[list(rows)]
        hidden = operator.hidden
        if hidden is not None:
            hidden = replace(hidden, weights=blend @ hidden.weights)
        return replace(
            operator,
            n_out=len(blend),
            weights=blend @ operator.weights,
            bias=operator.bias @ blend.T,
            hidden=hidden,
        )


class SimulatedNoise:
    """Noise drawn sample by sample: the same whatever the chunks.

    Parameters
    ----------
    statistics : OutputStatistics
        What it is like.
    mix : float
        Its amplitude, from 0 to 1.
    rows : sequence of int
        Channels of the output among those of the statistics.
    seed : int
        Same seed, same noise.
    """

    def __init__(
        self, statistics: OutputStatistics, mix: float, rows: Sequence[int], seed: int = 0
    ) -> None:
        self._mixing = mix * statistics.mixing[list(rows)]
        reflection = statistics.reflection
        past = np.empty((0, len(reflection)))
        for k in reflection.T:
            past = np.concatenate([past - k * past[::-1], k[None]])
        self._past = past
        self._std = np.sqrt((1.0 - reflection**2).prod(axis=1))
        self._rng = np.random.default_rng(seed)
        self._state = np.zeros_like(past)
        for _ in range(_SETTLING):
            self._advance()
        self._start = self._rng.bit_generator.state, self._state.copy()
        self.reset()

    def reset(self) -> None:
        """Back to the first sample."""
        self._rng.bit_generator.state = self._start[0]
        self._state[:] = self._start[1]
        self._ready: list[FloatArray] = []

    def prepare(self) -> None:
        """Draw the next sample ahead; it changes no number."""
        if not self._ready:
            self._ready.append(self._row())

    def take(self, n: int) -> FloatArray:
        """The next samples, shape (n, n_out), in µV."""
        rows = [self._ready.pop() if self._ready else self._row() for _ in range(n)]
        return np.array(rows).reshape(n, len(self._mixing))

    def _row(self) -> FloatArray:
        self._advance()
        row: FloatArray = self._mixing @ self._state[0]
        return row

    def _advance(self) -> None:
        newest = (self._past * self._state).sum(axis=0)
        newest += self._std * self._rng.standard_normal(len(newest))
        self._state[1:] = self._state[:-1]
        self._state[0] = newest
