"""One bank of temporal profiles at its best penalty, and averages of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calibration.regression.gram_matrices import LAMBDAS, Gram, RidgePath, SplitGrams
from calibration.regression.priors import Strength
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.errors import CalibrationError

NOTHING = Strength()


@dataclass(frozen=True, eq=False)
class Choice:
    """One bank at its best gamma and penalty, and how much was believed for it.

    Weights stand on the union of the banks.
    """

    bank: str
    gamma: float
    lam: float
    weights: FloatArray
    bias: FloatArray
    split_weights: FloatArray
    split_bias: FloatArray
    strength: Strength


@dataclass(frozen=True)
class Scales:
    """Energy of each profile, how its penalty grows with its delay, and its inputs."""

    energy: FloatArray
    growth: FloatArray
    n_ld: int

    def columns(self, place: IndexArray) -> IndexArray:
        """Features of some profiles."""
        return np.asarray((place[:, None] * self.n_ld + np.arange(self.n_ld)).ravel())

    def penalty(self, place: IndexArray, gamma: float) -> FloatArray:
        """Relative penalty of each of these features."""
        return np.repeat(self.energy[place] * self.growth[place] ** gamma, self.n_ld)


def held_out_path(
    training: Sequence[Gram], splits: Sequence[Gram], penalty: FloatArray
) -> tuple[FloatArray, list[RidgePath]]:
    """Error of every penalty over the splits (n_lambdas,), and the splits' solutions."""
    paths = [RidgePath(gram, penalty) for gram in training]
    pairs = zip(paths, splits, strict=True)
    errors = np.sum([path.errors(held, LAMBDAS).sum(axis=1) for path, held in pairs], axis=0)
    return errors, paths


def fit_bank(
    name: str,
    grams: SplitGrams,
    statistics: Sequence[Gram],
    place: IndexArray,
    scales: Scales,
    gammas: Sequence[float],
    strength: Strength = NOTHING,
) -> Choice:
    """Choose gamma and the penalty over all outputs, then fit; see `Choice`.

    ``statistics`` are those to train on, a split, and those of the session, with ``strength`` of
    beliefs in them. A penalty an output
    follows chance: tried, it was worse on later data (see docs/accuracy-notebook.md).
    """
    n_all, n_out = grams.total.zy.shape
    columns = scales.columns(place)
    splits = grams.part(columns).splits
    best: tuple[float, float, float, list[RidgePath]] | None = None
    for gamma in gammas:
        errors, paths = held_out_path(statistics[:-1], splits, scales.penalty(place, gamma))
        at = int(np.argmin(errors))
        if best is None or errors[at] < best[0]:
            best = (float(errors[at]), gamma, float(LAMBDAS[at]), paths)
    if best is None:
        raise CalibrationError("gammas must hold at least one value, got none. Use the default.")
    _, gamma, lam, paths = best
    whole = RidgePath(statistics[-1], scales.penalty(place, gamma))
    weights = np.zeros((len(paths) + 1, n_all, n_out))
    biases = np.empty((len(paths) + 1, n_out))
    for index, path in enumerate([*paths, whole]):
        solved = path.weights(np.array([lam]))
        weights[index, columns], biases[index] = solved, path.bias(solved)
    return Choice(name, gamma, lam, weights[-1], biases[-1], weights[:-1], biases[:-1], strength)


def plain_statistics(grams: SplitGrams, columns: IndexArray) -> list[Gram]:
    """Statistics without beliefs: every split's training set, then the session."""
    part = grams.part(columns)
    return [*(part.training(split) for split in range(len(part.splits))), part.total]


def held_out_error(
    grams: SplitGrams, split_weights: FloatArray, split_bias: FloatArray
) -> FloatArray:
    """Squared error (n_out,) of any fits on the splits they did not see, from the Grams."""
    error = np.zeros(split_bias.shape[1])
    for gram, w, b in zip(grams.splits, split_weights, split_bias, strict=True):
        moved = gram.centered(np.zeros(len(w)), b)
        error += moved.yy - 2 * (w * moved.zy).sum(axis=0) + (w * (gram.zz @ w)).sum(axis=0)
    return np.maximum(error, 0.0)


def average(choices: Sequence[Choice]) -> tuple[FloatArray, ...]:
    """Mean weights, bias, split weights and split biases."""
    names = ("weights", "bias", "split_weights", "split_bias")
    return tuple(np.mean([getattr(choice, name) for choice in choices], axis=0) for name in names)


def best_group(
    grams: SplitGrams, groups: Sequence[list[Choice]]
) -> tuple[list[Choice], FloatArray]:
    """The group whose average errs least on the blocks held out, and its error (n_out,)."""
    errors = [held_out_error(grams, *average(group)[2:]) for group in groups]
    best = int(np.argmin([error.sum() for error in errors]))
    return groups[best], errors[best]
