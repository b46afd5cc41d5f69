"""The closed-form start: ridge of the outputs on the inputs seen through Gaussian profiles.

``y(t) = b + sum_g W_g (tau_g * x)(t)``, with a penalty that grows with the delay,
``lam (1 + |mu_g| / spacing)^gamma |W_g|^2``, times the profile's energy so that wide and narrow
profiles are shrunk alike. Three banks are fitted, each with lam and gamma chosen by blocked
cross-validation, and averaged with the plain 16-lag ridge: the average is again one linear fit,
its errors are never above the mean of theirs, and the ridge in it bounds what a wrong choice
costs. Where positions are known, the same average is made once more with the beliefs of
:mod:`calibration.regression.priors` in the banks. The best of ridge, average and average with
beliefs on the blocks held out is kept; a short session may lean on other people's heads as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from calibration.regression.bank_fit import (
    NOTHING,
    Choice,
    Scales,
    average,
    best_group,
    fit_bank,
    held_out_path,
    plain_statistics,
)
from calibration.regression.blocks import Block, Segment, check_segments, make_blocks
from calibration.regression.gram_matrices import SplitGrams, accumulate
from calibration.regression.other_people import (
    MAX_SESSION_S,
    SECONDS,
    People,
    alike,
)
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

GAMMAS = (0.0, 1.0, 2.0, 3.0)
_Planned = tuple[Bank, IndexArray, Sequence[float]]
"""A bank, where its profiles are in the union, and the gammas to try."""
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


def _search(grams: SplitGrams, believed: PriorGrams, place: IndexArray, scales: Scales) -> Strength:
    """Strength of the beliefs, by the held-out error of one bank."""
    error_of = _error_of(grams, believed, place, scales)
    return choose_strength(error_of, reversal=believed.backwards is not None)


def _error_of(
    grams: SplitGrams, believed: PriorGrams, place: IndexArray, scales: Scales
) -> Callable[[Strength], float]:
    """Held-out error of one bank at the best penalty, by the strength of the beliefs."""
    penalty = scales.penalty(place, _SEARCH_GAMMA)
    splits = grams.part(scales.columns(place)).splits

    def error_of(strength: Strength) -> float:
        training = believed.blended(place, strength)[:-1]
        return float(held_out_path(training, splits, penalty)[0].min())

    return error_of


def _believing(
    grams: SplitGrams,
    believed: PriorGrams,
    plan: Sequence[_Planned],
    scales: Scales,
    strength: Strength,
) -> list[Choice]:
    """The banks with beliefs; none where nothing is believed."""
    if strength == NOTHING:
        return []
    return [
        fit_bank(
            bank.name, grams, believed.blended(place, strength), place, scales, tried, strength
        )
        for bank, place, tried in plan
    ]


def _lean(
    grams: SplitGrams,
    believed: PriorGrams,
    plan: Sequence[_Planned],
    scales: Scales,
    group: list[Choice],
    error: FloatArray,
    reversal: float,
) -> tuple[list[Choice], FloatArray]:
    """Average a group with banks that lean on other people, as far as blocks held out allow.

    People stand in the template's place.
    """
    limit = alike(grams.total.n / believed.sfreq) * error.sum()
    for seconds in reversed(SECONDS):
        strength = Strength(0.0, reversal, seconds)
        leaning = [*group, *_believing(grams, believed, plan, scales, strength)]
        _, errors = best_group(grams, [leaning])
        if errors.sum() <= limit:
            return leaning, errors
    return group, error


def _groups(
    choices: list[Choice], believers: list[Choice], present: Choice | None
) -> list[list[Choice]]:
    """What may be averaged: the first bank alone, all of them, and those with beliefs."""
    groups = [choices[:1], choices]
    if believers:
        groups.append([choices[0], *believers])
    if present is not None:
        # Ten seconds may be too short for many lags: averages with the present alone are on offer.
        groups += [[present, *group] for group in groups]
    return groups


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
    people: People | None = None,
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
    people : callable, optional
        From :mod:`calibration.population.session_prior`: what other people have at the session's
        electrodes, for short sessions to lean on as well. Only with ``prior``.

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
    scales = Scales((kernel**2).sum(axis=1), growth, n_ld)
    choices = [
        fit_bank(
            bank.name, grams, plain_statistics(grams, scales.columns(place)), place, scales, tried
        )
        for bank, place, tried in zip(used, places, growths, strict=True)
    ]
    now = int(np.argmin(np.abs(union.centers_s)))
    believers: list[Choice] = []
    same: list[_Planned] = []
    if prior is not None and banks is None:
        seconds = sum(len(x) for x, _ in segments) / sfreq
        short = seconds <= MAX_REVERSAL_S
        backwards = reversed_grams(segments, blocks, features, n_lags) if short else None
        correlation = autocorrelation(segments, n_lags)
        believed = PriorGrams(
            grams, backwards, prior, kernel, now, n_look_ahead, correlation, sfreq
        )
        strength = _search(grams, believed, places[0], scales)
        plan = list(zip(used[1:], places[1:], growths[1:], strict=True))
        believers = _believing(grams, believed, plan, scales, strength)
        if people is not None and seconds <= MAX_SESSION_S:
            believed.lean_on(people(union, n_look_ahead))
            # Leaning changes little in how the penalty should grow: that is not sought again.
            same = [(bank, at, (choices[i + 1].gamma,)) for i, (bank, at, _) in enumerate(plan)]
    present: Choice | None = None
    if banks is None:
        at = np.array([now], dtype=np.intp)
        plain = plain_statistics(grams, scales.columns(at))
        present = fit_bank("present", grams, plain, at, scales, (0.0,))
    group, error = best_group(grams, _groups(choices, believers, present))
    if same:
        group, error = _lean(grams, believed, same, scales, group, error, strength.reversal)
    weights, bias, split_weights, split_bias = average(group)
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
        prior=group[-1].strength,
    )
