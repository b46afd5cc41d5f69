"""The closed-form start: ridge of the outputs on the inputs seen through Gaussian profiles.

``y(t) = b + sum_g W_g (tau_g * x)(t)``, with a penalty that grows with the delay,
``lam (1 + |mu_g| / spacing)^gamma |W_g|^2``, times the profile's energy so that wide and narrow
profiles are shrunk alike. Three banks are fitted, each with lam and gamma chosen by blocked
cross-validation, and averaged with the plain 16-lag ridge: the average is again one linear fit,
its errors are never above the mean of theirs, and the ridge in it bounds what a wrong choice
costs. Where positions are known, the same average is made once more with the beliefs of
:mod:`calibration.regression.priors` in the banks. The best of ridge, average and average with
beliefs on the blocks held out is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from calibration.regression.blocks import Block, Segment, check_segments, make_blocks
from calibration.regression.gram_matrices import LAMBDAS, Gram, RidgePath, SplitGrams, accumulate
from calibration.regression.priors import (
    MAX_REVERSAL_S,
    PriorGrams,
    SpatialPrior,
    Strength,
    autocorrelation,
    choose_strength,
    reversed_grams,
)
from calibration.regression.profiles import (
    Bank,
    apply_taps,
    candidate_banks,
    n_lags_of,
    spacing_s,
    taps,
)
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.errors import CalibrationError

GAMMAS = (0.0, 1.0, 2.0, 3.0)
_SEARCH_GAMMA = 2.0


@dataclass(frozen=True)
class LinearFit:
    """A bank of temporal profiles and what drives it.

    Attributes
    ----------
    centers_s, widths_s : ndarray, shape (n_profiles,), float64
        The profiles, in seconds.
    weights : ndarray, shape (n_profiles, n_ld, n_out), float64
        ``y = sum_g z_g @ weights[g] + bias``, in µV.
    bias : ndarray, shape (n_out,), float64
        In µV.
    sfreq : float
        Sampling rate in Hz.
    n_look_ahead : int
        Samples waited for.
    n_lags : int
        Length of the lag axis, from lag -n_look_ahead on.
    bank : str
        Banks that were averaged, joined by ``+``.
    gamma : tuple of float
        Growth of the penalty with delay, a bank.
    lam : tuple of float
        Penalty a bank, as a fraction of the mean eigenvalue of its penalised covariance.
    cv_nmse : ndarray, shape (n_out,), float64
        Held-out error of each output over its power.
    blocks : tuple of Block
        The blocks of the cross-validation.
    split_weights : ndarray, shape (n_splits, n_profiles, n_ld, n_out), float64
        The fits that did not see a split.
    split_bias : ndarray, shape (n_splits, n_out), float64
        Their biases, in µV.
    prior : Strength
        How much the beliefs of :mod:`calibration.regression.priors` count in the banks.
    """

    centers_s: FloatArray
    widths_s: FloatArray
    weights: FloatArray
    bias: FloatArray
    sfreq: float
    n_look_ahead: int
    n_lags: int
    bank: str
    gamma: tuple[float, ...]
    lam: tuple[float, ...]
    cv_nmse: FloatArray
    blocks: tuple[Block, ...]
    split_weights: FloatArray
    split_bias: FloatArray
    prior: Strength = field(default_factory=Strength)

    @property
    def kernel(self) -> FloatArray:
        """The sampled profiles, shape (n_profiles, n_lags)."""
        return taps(self.centers_s, self.widths_s, self.sfreq, self.n_look_ahead, self.n_lags)

    def predict(self, x: FloatArray) -> FloatArray:
        """Render the outputs of a segment: x (n_times, n_ld) -> (n_times, n_out) in µV."""
        return self._render(x, 0, len(x), self.weights, self.bias)

    def predict_held_out(self, segments: Sequence[Segment]) -> list[FloatArray]:
        """Predict every sample of the session from the fit that did not see its split.

        Parameters
        ----------
        segments : sequence of (x, y)
            The segments of the fit, in the same order.

        Returns
        -------
        list of ndarray, shape (n_times, n_out), float64
            In µV, a segment.
        """
        predicted = [np.empty(y.shape) for _, y in segments]
        for block in self.blocks:
            weights, bias = self.split_weights[block.split], self.split_bias[block.split]
            x = segments[block.segment][0]
            rendered = self._render(x, block.start, block.stop, weights, bias)
            predicted[block.segment][block.start : block.stop] = rendered
        return predicted

    def _render(
        self,
        x: FloatArray,
        start: int,
        stop: int,
        weights: FloatArray,
        bias: FloatArray,
    ) -> FloatArray:
        z = apply_taps(x, self.kernel, self.n_look_ahead, start, stop).reshape(stop - start, -1)
        rendered: FloatArray = z @ weights.reshape(z.shape[1], -1) + bias
        return rendered


@dataclass(frozen=True, eq=False)
class _Choice:
    """One bank at its best gamma and penalty; weights stand on the union of the banks."""

    bank: str
    gamma: float
    lam: float
    weights: FloatArray
    bias: FloatArray
    split_weights: FloatArray
    split_bias: FloatArray


def _union(banks: Sequence[Bank]) -> tuple[Bank, list[IndexArray]]:
    """Merge banks; also the index of each bank's profiles in the union."""
    keys = [
        [(round(float(mu), 12), round(float(sigma), 12)) for mu, sigma in pairs]
        for pairs in (zip(bank.centers_s, bank.widths_s, strict=True) for bank in banks)
    ]
    union = sorted({key for bank in keys for key in bank})
    places = [np.array([union.index(key) for key in bank], dtype=np.intp) for bank in keys]
    centers, widths = np.array(union).T
    return Bank("+".join(bank.name for bank in banks), centers, widths), places


@dataclass(frozen=True)
class _Scales:
    """Energy of each profile, how its penalty grows with its delay, and its inputs."""

    energy: FloatArray
    growth: FloatArray
    n_ld: int

    def columns(self, place: IndexArray) -> IndexArray:
        return np.asarray((place[:, None] * self.n_ld + np.arange(self.n_ld)).ravel())

    def penalty(self, place: IndexArray, gamma: float) -> FloatArray:
        return np.repeat(self.energy[place] * self.growth[place] ** gamma, self.n_ld)


def _held_out_path(
    training: Sequence[Gram], splits: Sequence[Gram], penalty: FloatArray
) -> tuple[FloatArray, list[RidgePath]]:
    """Error of every penalty over the splits (n_lambdas,), and the splits' solutions."""
    paths = [RidgePath(gram, penalty) for gram in training]
    pairs = zip(paths, splits, strict=True)
    errors = np.sum([path.errors(held, LAMBDAS).sum(axis=1) for path, held in pairs], axis=0)
    return errors, paths


def _fit_bank(
    name: str,
    grams: SplitGrams,
    statistics: Sequence[Gram],
    place: IndexArray,
    scales: _Scales,
    gammas: Sequence[float],
) -> _Choice:
    """Choose gamma and the penalty over all outputs, then fit; see `_Choice`.

    ``statistics`` are those to train on, a split, and those of the session. A penalty an output
    follows chance: tried, it was worse on later data (see docs/accuracy-notebook.md).
    """
    n_all, n_out = grams.total.zy.shape
    columns = scales.columns(place)
    splits = grams.part(columns).splits
    best: tuple[float, float, float, list[RidgePath]] | None = None
    for gamma in gammas:
        errors, paths = _held_out_path(statistics[:-1], splits, scales.penalty(place, gamma))
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
    return _Choice(name, gamma, lam, weights[-1], biases[-1], weights[:-1], biases[:-1])


def _plain(grams: SplitGrams, columns: IndexArray) -> list[Gram]:
    """Statistics without beliefs: every split's training set, then the session."""
    part = grams.part(columns)
    return [*(part.training(split) for split in range(len(part.splits))), part.total]


def _search(
    grams: SplitGrams, believed: PriorGrams, place: IndexArray, scales: _Scales
) -> Strength:
    """Strength of the beliefs, by the held-out error of one bank."""
    penalty = scales.penalty(place, _SEARCH_GAMMA)
    splits = grams.part(scales.columns(place)).splits

    def error_of(strength: Strength) -> float:
        training = believed.blended(place, strength)[:-1]
        return float(_held_out_path(training, splits, penalty)[0].min())

    return choose_strength(error_of, reversal=believed.backwards is not None)


def _held_out_error(
    grams: SplitGrams, split_weights: FloatArray, split_bias: FloatArray
) -> FloatArray:
    """Squared error (n_out,) of any fits on the splits they did not see, from the Grams."""
    error = np.zeros(split_bias.shape[1])
    for gram, w, b in zip(grams.splits, split_weights, split_bias, strict=True):
        moved = gram.centered(np.zeros(len(w)), b)
        error += moved.yy - 2 * (w * moved.zy).sum(axis=0) + (w * (gram.zz @ w)).sum(axis=0)
    return np.maximum(error, 0.0)


def _average(choices: Sequence[_Choice]) -> tuple[FloatArray, ...]:
    names = ("weights", "bias", "split_weights", "split_bias")
    return tuple(np.mean([getattr(choice, name) for choice in choices], axis=0) for name in names)


def _groups(
    choices: list[_Choice], believers: list[_Choice], present: _Choice | None
) -> list[list[_Choice]]:
    """What may be averaged: the first bank alone, all of them, and those with beliefs."""
    groups = [choices[:1], choices]
    if believers:
        groups.append([choices[0], *believers])
    if present is not None:
        # Ten seconds may be too short for many lags: averages with the present alone are on offer.
        groups += [[present, *group] for group in groups]
    return groups


def _best_group(
    grams: SplitGrams, groups: Sequence[list[_Choice]]
) -> tuple[list[_Choice], FloatArray]:
    """The group whose average errs least on the blocks held out, and its error (n_out,)."""
    errors = [_held_out_error(grams, *_average(group)[2:]) for group in groups]
    best = int(np.argmin([error.sum() for error in errors]))
    return groups[best], errors[best]


def _plan(
    sfreq: float, n_look_ahead: int, banks: Sequence[Bank] | None, gammas: Sequence[float]
) -> tuple[list[Bank], list[Sequence[float]]]:
    """Banks to average, and the gammas that each may choose from."""
    if banks is not None:
        return list(banks), [gammas] * len(banks)
    named = candidate_banks(sfreq, n_look_ahead)
    anchor = Bank("ridge", named[0].centers_s, named[0].widths_s)
    return [anchor, *named], [(0.0,), *[gammas] * len(named)]


def fit_linear(
    segments: Sequence[Segment],
    sfreq: float,
    n_look_ahead: int = 0,
    *,
    banks: Sequence[Bank] | None = None,
    gammas: Sequence[float] = GAMMAS,
    blocks: Sequence[Block] | None = None,
    prior: SpatialPrior | None = None,
) -> LinearFit:
    """Fit the closed-form start.

    Parameters
    ----------
    segments : sequence of (x, y)
        Inputs (n_times, n_ld), scaled, and targets (n_times, n_out) in µV, relative to the
        mean of the low-density channels.
    sfreq : float
        Sampling rate in Hz.
    n_look_ahead : int
        Samples waited for.
    banks : sequence of Bank, optional
        Banks to average, the first of them the fallback; by default the exact delays without
        growth (lagged ridge), then :func:`calibration.regression.profiles.candidate_banks`.
    gammas : sequence of float
        Growths of the penalty with delay to try.
    blocks : sequence of Block, optional
        By default five splits of four blocks.
    prior : SpatialPrior, optional
        From :func:`calibration.regression.priors.spatial_prior`: lets short sessions lean on what
        is known of EEG, by as much as helps on blocks held out. Without it (or with ``banks``)
        nothing is believed.

    Returns
    -------
    LinearFit
        The average of the banks with beliefs or without, or the first bank alone: whichever is
        best on the blocks held out.

    Raises
    ------
    CalibrationError
        If the segments do not fit together or are too short.
    """
    n_ld, n_out = check_segments(segments)
    used, growths = _plan(sfreq, n_look_ahead, banks, gammas)
    blocks = tuple(blocks) if blocks is not None else make_blocks([len(x) for x, _ in segments])
    union, places = _union(used)
    n_lags = n_lags_of(union, sfreq, n_look_ahead)
    kernel = taps(union.centers_s, union.widths_s, sfreq, n_look_ahead, n_lags)

    def features(x: FloatArray, start: int, stop: int) -> FloatArray:
        return apply_taps(x, kernel, n_look_ahead, start, stop).reshape(stop - start, -1)

    grams = accumulate(segments, blocks, features, guard=n_lags)
    growth = 1.0 + np.abs(union.centers_s) / spacing_s(sfreq)
    scales = _Scales((kernel**2).sum(axis=1), growth, n_ld)
    choices = [
        _fit_bank(bank.name, grams, _plain(grams, scales.columns(place)), place, scales, tried)
        for bank, place, tried in zip(used, places, growths, strict=True)
    ]
    now = int(np.argmin(np.abs(union.centers_s)))
    strength = Strength()
    believers: list[_Choice] = []
    if prior is not None and banks is None:
        short = sum(len(x) for x, _ in segments) <= MAX_REVERSAL_S * sfreq
        backwards = reversed_grams(segments, blocks, features, n_lags) if short else None
        correlation = autocorrelation(segments, n_lags)
        believed = PriorGrams(grams, backwards, prior, kernel, now, n_look_ahead, correlation)
        strength = _search(grams, believed, places[0], scales)
        if strength != Strength():
            plan = zip(used[1:], places[1:], growths[1:], strict=True)
            believers = [
                _fit_bank(bank.name, grams, believed.blended(at, strength), at, scales, tried)
                for bank, at, tried in plan
            ]
    present: _Choice | None = None
    if banks is None:
        at = np.array([now], dtype=np.intp)
        plain = _plain(grams, scales.columns(at))
        present = _fit_bank("present", grams, plain, at, scales, (0.0,))
    group, error = _best_group(grams, _groups(choices, believers, present))
    weights, bias, split_weights, split_bias = _average(group)
    power = np.maximum(np.sum([gram.yy for gram in grams.splits], axis=0), np.finfo(float).tiny)
    shape = (len(union.centers_s), n_ld, n_out)
    driven = np.flatnonzero(np.abs(weights.reshape(shape)).sum(axis=(1, 2)) > 0)
    kept = driven if len(driven) else np.arange(1)
    bank = Bank("", union.centers_s[kept], union.widths_s[kept])
    return LinearFit(
        centers_s=bank.centers_s,
        widths_s=bank.widths_s,
        weights=weights.reshape(shape)[kept],
        bias=bias,
        sfreq=float(sfreq),
        n_look_ahead=n_look_ahead,
        n_lags=n_lags_of(bank, sfreq, n_look_ahead),
        bank="+".join(choice.bank for choice in group),
        gamma=tuple(choice.gamma for choice in group),
        lam=tuple(choice.lam for choice in group),
        cv_nmse=error / power,
        blocks=blocks,
        split_weights=split_weights.reshape(-1, *shape)[:, kept],
        split_bias=split_bias,
        prior=strength if any(choice in group for choice in believers) else Strength(),
    )
