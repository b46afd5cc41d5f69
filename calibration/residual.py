"""The non-linear residual: what the closed form leaves and the past still tells.

Several small networks learn the cross-fitted residuals, each validated on blocks of time it
never saw, all trained side by side. They are kept only where they help out of fold, each output
with a gain shrunk by its standard error, and the bag is written down as one wider network:

``z = taps * x`` (index ``r * n_ld + channel``), ``h = GELU(z W1' + b1)``,
``h = GELU(h W2' + b2)`` (block-diagonal, kept as blocks), ``y = h W_out' + b_out``, with the exact
(erf) GELU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from calibration.closed_form import LinearFit
from calibration.folds import Segment, check_segments, fold_rows, n_folds_of, training_rows
from calibration.profiles import Bank, apply_taps, n_lags_of, residual_bank, taps
from calibration.residual_training import Network, Progress, ResidualSettings, Task, train
from emag_rt.core.drive import run_layers
from emag_rt.errors import CalibrationError

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]

_GAIN_BLOCK_S = 4.0
_POWER_WINDOW_S = 0.25
_PREDICT_ROWS = 8192


@dataclass(frozen=True)
class ResidualNet:
    """The bag of networks as one, in plain arrays.

    Attributes
    ----------
    taps_centers_s, taps_widths_s : ndarray, shape (n_profiles,), float64
        Profiles of the encoder, in seconds.
    layers : tuple of (weight, bias)
        Float32; weight (n_outputs, n_inputs), as ``z @ weight.T + bias``, or for a
        block-diagonal layer (n_blocks, n_outputs, n_inputs) of each block. GELU (exact) after
        every layer but the last. The output is in µV.
    sfreq : float
        Sampling rate in Hz.
    n_look_ahead, n_lags : int
        The lag axis of the encoder: from -n_look_ahead on, n_lags long.
    kept_folds : tuple of int
        Folds whose networks are in the bag.
    gains : ndarray, shape (n_out,), float64
        Shrink factor of each output, in [0, 1], already in the last layer.
    fold_ratios : tuple of float
        Out-of-fold squared error with the fold's networks over that without, a fold.
    """

    taps_centers_s: NDArray[np.float64]
    taps_widths_s: NDArray[np.float64]
    layers: tuple[Layer, ...]
    sfreq: float
    n_look_ahead: int
    n_lags: int
    kept_folds: tuple[int, ...]
    gains: NDArray[np.float64]
    fold_ratios: tuple[float, ...]

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return len(self.layers[-1][1])

    @property
    def kernel(self) -> NDArray[np.float64]:
        """The sampled encoder, shape (n_profiles, n_lags)."""
        centers, widths = self.taps_centers_s, self.taps_widths_s
        return taps(centers, widths, self.sfreq, self.n_look_ahead, self.n_lags)

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Correction to the linear fit for a segment: (n_times, n_ld) -> (n_times, n_out), µV."""
        rendered, kernel = np.empty((len(x), self.n_out)), self.kernel
        inner = tuple((w.astype(np.float64), b.astype(np.float64)) for w, b in self.layers[:-1])
        for start in range(0, len(x), _PREDICT_ROWS):
            stop = min(start + _PREDICT_ROWS, len(x))
            z = apply_taps(x, kernel, self.n_look_ahead, start, stop).reshape(stop - start, -1)
            h = run_layers(inner, "gelu", z)
            rendered[start:stop] = h @ self.layers[-1][0].T.astype(np.float64) + self.layers[-1][1]
        return rendered


def fit_residual(
    segments: Sequence[Segment],
    linear: LinearFit,
    *,
    settings: ResidualSettings | None = None,
    bank: Bank | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> ResidualNet | None:
    """Train the non-linear residual of a closed-form fit.

    Parameters
    ----------
    segments : sequence of (x, y)
        The segments of the closed-form fit, in the same order.
    linear : LinearFit
        That fit: its folds and its out-of-fold predictions are used.
    settings : ResidualSettings, optional
        How to train.
    bank : Bank, optional
        Profiles of the encoder; by default :func:`calibration.profiles.residual_bank`.
    seed : int
        Same seed, same machine, same device, same threads: same numbers.
    device : str
        ``"cpu"`` or ``"cuda"``.
    progress : callable, optional
        Called with the fraction done, in [0, 1], and a message.

    Returns
    -------
    ResidualNet or None
        None where no network is better than the linear fit by more than its standard error.

    Raises
    ------
    CalibrationError
        If the segments differ from those of the fit, or torch or the device is missing.
    """
    check_segments(segments)
    shapes = [y.shape for _, y in segments]
    if sum(shape[0] for shape in shapes) != sum(b.stop - b.start for b in linear.blocks):
        raise CalibrationError(
            f"segments must be those of the linear fit, got shapes {shapes}. Pass the same list."
        )
    settings, bank = settings or ResidualSettings(), bank or _default_bank(linear)
    task = _prepare(segments, linear, bank)
    nets = train(task, settings, seed, device, progress or _silent)
    gains, ratios, kept = _gains(task, nets, settings, linear.sfreq)
    if not kept or not gains.any():
        return None
    return ResidualNet(
        taps_centers_s=bank.centers_s,
        taps_widths_s=bank.widths_s,
        layers=_one_network([net for net in nets if net.fold in kept], task, gains),
        sfreq=linear.sfreq,
        n_look_ahead=linear.n_look_ahead,
        n_lags=n_lags_of(bank, linear.sfreq, linear.n_look_ahead),
        kept_folds=kept,
        gains=gains,
        fold_ratios=ratios,
    )


def _default_bank(linear: LinearFit) -> Bank:
    return residual_bank(linear.sfreq, linear.n_look_ahead)


def _silent(fraction: float, message: str) -> None:
    """Report nothing."""


def _prepare(segments: Sequence[Segment], linear: LinearFit, bank: Bank) -> Task:
    """Encode the inputs and take the out-of-fold residuals, both scaled to unit variance."""
    sfreq, ahead = linear.sfreq, linear.n_look_ahead
    n_lags = n_lags_of(bank, sfreq, ahead)
    kernel = taps(bank.centers_s, bank.widths_s, sfreq, ahead, n_lags)
    z = np.concatenate([apply_taps(x, kernel, ahead).reshape(len(x), -1) for x, _ in segments])
    missed = [y - p for (_, y), p in zip(segments, linear.out_of_fold(segments), strict=True)]
    # Loud stretches (movement, blinks) would own the loss: weigh by local power ** -1/2.
    size = max(1, round(_POWER_WINDOW_S * sfreq))
    power = np.concatenate([uniform_filter1d((r**2).mean(axis=1), size) for r in missed])
    relative = power / max(float(np.median(power)), np.finfo(float).tiny)
    weight = 1.0 / np.sqrt(relative + 0.1)
    r = np.concatenate(missed)
    z_scale, r_scale = z.std(axis=0), r.std(axis=0)
    z_scale, r_scale = np.where(z_scale > 0, z_scale, 1.0), np.where(r_scale > 0, r_scale, 1.0)
    lengths, blocks = [len(x) for x, _ in segments], linear.blocks
    folds = range(n_folds_of(blocks))
    return Task(
        z=(z / z_scale).astype(np.float32),
        r=(r / r_scale).astype(np.float32),
        sample_weight=(weight / weight.mean()).astype(np.float32),
        z_scale=z_scale,
        r_scale=r_scale,
        train=[np.flatnonzero(training_rows(lengths, blocks, k, n_lags)) for k in folds],
        held=[np.flatnonzero(fold_rows(lengths, blocks, k)) for k in folds],
    )


def _gains(
    task: Task, nets: Sequence[Network], settings: ResidualSettings, sfreq: float
) -> tuple[NDArray[np.float64], tuple[float, ...], tuple[int, ...]]:
    """Shrink factor of each output, out-of-fold ratio of each fold, and the folds to keep.

    Products are summed over blocks of a few seconds, whose scatter gives the standard error:
    an output whose gain is not clear of zero by one standard error gets none.
    """
    products, squares, owner = [], [], []
    target_power = np.zeros(len(task.held))
    for fold, rows in enumerate(task.held):
        bag = [net.held for net in nets if net.fold == fold and net.held is not None]
        target = task.r[rows] * task.r_scale
        target_power[fold] = (target**2).sum()
        if not bag:
            continue
        predicted = np.mean(bag, axis=0) * task.r_scale
        n_parts = max(1, round(len(rows) / (_GAIN_BLOCK_S * sfreq)))
        for part in np.array_split(np.arange(len(rows)), n_parts):
            products.append((predicted[part] * target[part]).sum(axis=0))
            squares.append((predicted[part] ** 2).sum(axis=0))
            owner.append(fold)
    if not products:
        return np.zeros(task.r.shape[1]), (1.0,) * len(task.held), ()
    along, size, folds = np.array(products), np.array(squares), np.array(owner)
    total = np.maximum(size.sum(axis=0), np.finfo(float).tiny)
    slope = along.sum(axis=0) / total
    spread = np.sqrt(((along - slope * size) ** 2).sum(axis=0))
    careful = np.clip((along.sum(axis=0) - spread) / total, 0.0, 1.0)
    won = (2 * careful * along - careful**2 * size).sum(axis=1)
    ratios = 1.0 - np.array([won[folds == k].sum() for k in range(len(task.held))]) / np.maximum(
        target_power, np.finfo(float).tiny
    )
    kept = tuple(k for k in range(len(task.held)) if k in folds and ratios[k] < 1.0)
    if won.sum() <= np.sqrt(((won - won.mean()) ** 2).sum()):
        kept = ()
    # A bag has less noise than the networks of one fold, so the shrinkage it needs is less.
    gains = careful / (careful + (1.0 - careful) / settings.bag_size)
    return gains, tuple(float(ratio) for ratio in ratios), kept


def _one_network(
    nets: Sequence[Network], task: Task, gains: NDArray[np.float64]
) -> tuple[Layer, ...]:
    """Write the bag as one network on unscaled inputs, its output in µV and shrunk."""
    used = [net.weights for net in nets if net.weights is not None]
    scale = (gains * task.r_scale / len(used))[:, None]
    first = np.concatenate([w[0].T / task.z_scale for w in used])
    second = np.stack([w[2].T for w in used])
    last = np.concatenate([w[4].T * scale for w in used], axis=1)
    biases = [np.concatenate([w[i][0] for w in used]) for i in (1, 3)]
    biases.append(np.sum([w[5][0] * scale[:, 0] for w in used], axis=0))
    pairs = zip((first, second, last), biases, strict=True)
    return tuple((w.astype(np.float32), b.astype(np.float32)) for w, b in pairs)
