"""What is known of EEG before the session is seen: how it spreads, and that it is reversible.

Short sessions determine lagged weights badly. Three beliefs help, each worth some share of the
evidence, chosen on blocks held out; all enter as if they were samples, so the fit stays linear.

- *Template*: sources of several sizes spread over the head give neighbours like signals
  (a sum of Gaussian kernels on the sphere), and all of them the session's own autocorrelation.
  Its conditional mean is an interpolation at lag zero: the fit shrinks toward that, not to zero.
- *People*: what other people have at the same electrodes; see
  :mod:`calibration.regression.other_people`.
- *Reversal*: volume conduction is instantaneous, so lagged covariances of EEG are close to
  symmetric. The recording played backwards is then a second recording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import fft
from scipy.linalg import toeplitz

from calibration.regression.blocks import Block, Segment
from calibration.regression.gram_matrices import Features, Gram, SplitGrams, accumulate
from calibration.regression.other_people import PeopleCovariance
from calibration.session.segments import Session
from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.errors import CalibrationError

TEMPLATE_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5)
REVERSAL_WEIGHTS = (0.0, 0.5, 1.0)
MAX_REVERSAL_S = 300.0
"""Longer sessions gained nothing from reversal, and it doubles the cost."""
_SIZES_MM = (15.0, 30.0, 60.0)
_SPHERE_MM = 90.0
_OWN_NOISE = 0.01
_WORTHWHILE = 2e-4


@dataclass(frozen=True, eq=False)
class SpatialPrior:
    """Covariance that signals relative to the LD mean have a priori, up to one factor.

    Attributes
    ----------
    ld_ld : ndarray, shape (n_ld, n_ld), float64
        Of the scaled LD channels.
    ld_out : ndarray, shape (n_ld, n_out), float64
        Of the scaled LD channels with the targets.
    """

    ld_ld: FloatArray
    ld_out: FloatArray


@dataclass(frozen=True)
class Strength:
    """How much the beliefs count.

    Attributes
    ----------
    template : float
        Share of the evidence that the template is, 0 to 1.
    reversal : float
        Weight of a sample of the reversed recording; a true one has 1.
    people_s : float
        Seconds of signal that other people count as.
    """

    template: float = 0.0
    reversal: float = 0.0
    people_s: float = 0.0


def spatial_prior(ld_mm: FloatArray, targets_mm: FloatArray, scale_uv: FloatArray) -> SpatialPrior:
    """Template from where the electrodes are.

    Parameters
    ----------
    ld_mm, targets_mm : ndarray, shape (n_ld, 3) and (n_out, 3), float64
        Positions, origin at the centre of the head sphere.
    scale_uv : ndarray, shape (n_ld,), float64
        What the LD inputs were divided by.

    Returns
    -------
    SpatialPrior
        For inputs and targets relative to the LD mean.

    Raises
    ------
    CalibrationError
        If the shapes do not fit, or a position or scale is not usable.
    """
    ld_mm, targets_mm, scale = (np.asarray(a, float) for a in (ld_mm, targets_mm, scale_uv))
    n_ld = len(ld_mm)
    points = np.concatenate([ld_mm.reshape(-1, 3), targets_mm.reshape(-1, 3)])
    radius = np.linalg.norm(points, axis=1, keepdims=True)
    if scale.shape != (n_ld,) or not (np.isfinite(radius).all() and (radius > 0).all()):
        raise CalibrationError(
            f"positions must be finite and off the centre, with one scale for each of the {n_ld} "
            f"LD electrodes, got scales of shape {scale.shape}. Use the session's own."
        )
    points = points / radius * _SPHERE_MM
    squared = ((points[:, None] - points) ** 2).sum(axis=-1)
    covariance = np.mean([np.exp(-0.5 * squared / size**2) for size in _SIZES_MM], axis=0)
    covariance += _OWN_NOISE * np.eye(len(points))
    relative = np.eye(len(points))
    relative[:, :n_ld] -= 1.0 / n_ld
    covariance = relative @ covariance @ relative.T
    root = np.where(scale > 0, scale, 1.0)
    return SpatialPrior(
        covariance[:n_ld, :n_ld] / np.outer(root, root), covariance[:n_ld, n_ld:] / root[:, None]
    )


def autocorrelation(segments: Sequence[Segment], n_lags: int) -> FloatArray:
    """Autocorrelation of the inputs at lags 0 to n_lags - 1, pooled over channels.

    Biased, so that its Toeplitz matrix is positive semi-definite. Shape (n_lags,), float64.
    """
    total = np.zeros(n_lags)
    for x, _ in segments:
        centred = x - x.mean(axis=0)
        size = fft.next_fast_len(len(x) + n_lags, real=True)
        power = (np.abs(fft.rfft(centred, size, axis=0)) ** 2).sum(axis=1)
        total += fft.irfft(power, size)[:n_lags]
    return total / total[0] if total[0] > 0 else np.eye(1, n_lags)[0]


def reversed_grams(
    segments: Sequence[Segment], blocks: Sequence[Block], features: Features, guard: int
) -> SplitGrams:
    """Statistics of the session played backwards, split by split; see `accumulate`."""
    backwards = [(x[::-1], y[::-1]) for x, y in segments]
    lengths = [len(x) for x, _ in segments]
    mirrored = [
        Block(b.segment, lengths[b.segment] - b.stop, lengths[b.segment] - b.start, b.split)
        for b in blocks
    ]
    return accumulate(backwards, mirrored, features, guard)


class PriorGrams:
    """The statistics of a session together with what is believed.

    Parameters
    ----------
    grams : SplitGrams
        Of the session; features are profile by profile, LD channel by LD channel.
    backwards : SplitGrams or None
        Of the reversed session; None where it does not count.
    prior : SpatialPrior
        Template.
    kernel : ndarray, shape (n_profiles, n_lags), float64
        Sampled profiles.
    now : int
        Profile that is the present sample.
    n_look_ahead : int
        Lag axis of the kernel starts at -n_look_ahead.
    correlation : ndarray, shape (n_lags,), float64
        As from `autocorrelation`.
    sfreq : float
        Rate in Hz.
    """

    def __init__(
        self,
        grams: SplitGrams,
        backwards: SplitGrams | None,
        prior: SpatialPrior,
        kernel: FloatArray,
        now: int,
        n_look_ahead: int,
        correlation: FloatArray,
        sfreq: float,
    ) -> None:
        self.grams, self.backwards, self.prior, self.now = grams, backwards, prior, now
        self.sfreq = sfreq
        self._people: tuple[FloatArray, FloatArray] | None = None
        lags = np.abs(np.arange(kernel.shape[1]) - n_look_ahead)
        self._among = kernel @ toeplitz(correlation) @ kernel.T
        self._with_now = kernel @ correlation[lags]

    def lean_on(self, people: PeopleCovariance) -> None:
        """Let a strength's ``people_s`` count; people's covariance is on the kernel's profiles."""
        self._people = people.on_all(self._among, self.now)

    def blended(self, profiles: IndexArray, strength: Strength) -> list[Gram]:
        """Training statistics of every split, then of the whole session, with the beliefs in.

        Parameters
        ----------
        profiles : ndarray of int
            Profiles to keep.
        strength : Strength
            How much the beliefs count.

        Returns
        -------
        list of Gram
            One more than there are splits. Means are those of the samples alone.
        """
        n_ld = len(self.prior.ld_ld)
        columns = (profiles[:, None] * n_ld + np.arange(n_ld)).ravel()
        present = self.now * n_ld + np.arange(n_ld)
        n_splits = len(self.grams.splits)
        blends = []
        for split in [*range(n_splits), None]:
            gram = _training(self.grams, split).part(columns)
            zz, zy = _covariances(gram)
            if strength.reversal > 0 and self.backwards is not None:
                w = strength.reversal
                other = _covariances(_training(self.backwards, split).part(columns))
                zz, zy = (zz + w * other[0]) / (1 + w), (zy + w * other[1]) / (1 + w)
            if strength.template > 0:
                share = strength.template
                size = _mean_variance(_training(self.grams, split).part(present), self.prior)
                among = self._among[np.ix_(profiles, profiles)]
                with_now = self._with_now[profiles, None]
                zz = (1 - share) * zz + share * size * np.kron(among, self.prior.ld_ld)
                zy = (1 - share) * zy + share * size * np.kron(with_now, self.prior.ld_out)
            if strength.people_s > 0 and self._people is not None:
                n = strength.people_s * self.sfreq
                share = n / (n + gram.n)
                now = _training(self.grams, split).part(present)
                size = float(np.trace(_covariances(now)[0]))
                zz = (1 - share) * zz + share * size * self._people[0][np.ix_(columns, columns)]
                zy = (1 - share) * zy + share * size * self._people[1][columns]
            blends.append(_as_gram(gram, zz, zy))
        return blends


def choose_strength(error_of: Callable[[Strength], float], *, reversal: bool) -> Strength:
    """Climb from no belief, one step at a time, to the least held-out error.

    Parameters
    ----------
    error_of : callable
        Held-out error of a strength.
    reversal : bool
        Whether reversal may be used.

    Returns
    -------
    Strength
        The best on the way; a step that gains under 0.02 % is not taken.
    """
    best, error = Strength(), error_of(Strength())
    while True:
        steps = []
        after = [share for share in TEMPLATE_SHARES if share > best.template]
        if after:
            steps.append(replace(best, template=after[0]))
        more = [weight for weight in REVERSAL_WEIGHTS if weight > best.reversal]
        if more and reversal:
            steps.append(replace(best, reversal=more[0]))
        errors = [error_of(step) for step in steps]
        if not errors or min(errors) > error * (1 - _WORTHWHILE):
            return best
        error, best = min(errors), steps[int(np.argmin(errors))]


def _training(grams: SplitGrams, split: int | None) -> Gram:
    return grams.total if split is None else grams.training(split)


def _covariances(gram: Gram) -> tuple[FloatArray, FloatArray]:
    centered = gram.centered(gram.z / gram.n, gram.y / gram.n)
    return centered.zz / gram.n, centered.zy / gram.n


def _mean_variance(gram: Gram, prior: SpatialPrior) -> float:
    """Factor that gives the template the inputs' power."""
    return float(np.trace(_covariances(gram)[0]) / np.trace(prior.ld_ld))


def _as_gram(gram: Gram, zz: FloatArray, zy: FloatArray) -> Gram:
    """Sums with the means of ``gram`` and the given covariances."""
    mean_z, mean_y, n = gram.z / gram.n, gram.y / gram.n, gram.n
    sums_zz, sums_zy = n * (zz + np.outer(mean_z, mean_z)), n * (zy + np.outer(mean_z, mean_y))
    return Gram(sums_zz, sums_zy, gram.yy, gram.z, gram.y, n)


def session_prior(session: Session) -> SpatialPrior:
    """The spatial template of a session: its LD channels and what is learned from them.

    Parameters
    ----------
    session : Session
        Ready to be fitted.

    Returns
    -------
    SpatialPrior
        For :func:`calibration.regression.closed_form.fit_linear`.
    """
    positions = session.montage.positions_mm
    ld, targets = list(session.ld), list(session.targets)
    return spatial_prior(positions[ld], positions[targets], session.scale_uv)
