"""The non-linear residual: what the closed form leaves and the past still tells.

Several small networks with dilated memory learn the cross-fitted residuals, each validated on
blocks of time it never saw, all trained side by side. They are kept only where they help on
blocks held out, each output with a gain shrunk by its standard error. Where that is asked for, one
network of the same shape then learns to give what the bag gives, so that serving costs one network.
It, or the bag as a wider one, is ``h = z W_in' + b_in``, the blocks of
:mod:`emag_rt.core.dilated`, and
``y = GELU(h) W_out' + b_out``, with the exact (erf) GELU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import uniform_filter1d

from calibration.regression.blocks import (
    Segment,
    check_segments,
    held_out_rows,
    n_splits_of,
    training_rows,
)
from calibration.regression.closed_form import LinearFit
from calibration.regression.profiles import apply_taps, spacing_s
from calibration.residual.gains import Shares, output_gains, shares_beside
from calibration.residual.joined import can_join, join, those_beside
from calibration.residual.residual_net import Layer, ResidualNet
from calibration.residual.task import ResidualSettings, Task, TrainedNetwork
from calibration.residual.unfinished import UnfinishedTraining
from emag_rt.array_types import FloatArray, Samples
from emag_rt.core.dilated import Blocks, DilatedBlock
from emag_rt.errors import CalibrationError

_POWER_WINDOW_S = 0.25
_LOUDNESS_EXPONENT = 0.35
LEAST_S = 20.0
"""Sessions under this say too little on what a network gains: one lost 16 % on later data."""


def encoder_taps(sfreq: float) -> tuple[FloatArray, int]:
    """What the networks see of the stream.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    kernel : ndarray, shape (n_taps, n_lags), float64
        The sample itself, and above about 240 Hz the mean over a step too, so that what lies
        between the samples that the networks look at is not lost.
    step : int
        Samples between those, about 1/160 s.
    """
    step = max(1, round(spacing_s(sfreq) * sfreq))
    if step == 1:
        return np.ones((1, 1)), 1
    return np.stack([np.eye(1, step)[0], np.full(step, 1.0 / step)]), step


def fit_residual(
    segments: Sequence[Segment],
    linear: LinearFit,
    *,
    settings: ResidualSettings | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[float, str], None] | None = None,
    unfinished: UnfinishedTraining | None = None,
    others: ResidualNet | None = None,
) -> ResidualNet | None:
    """Train the non-linear residual of a closed-form fit.

    Parameters
    ----------
    segments : sequence of (x, y)
        The segments of the closed-form fit, in the same order.
    linear : LinearFit
        That fit: its splits and its held-out predictions are used.
    settings : ResidualSettings, optional
        How to train.
    seed : int
        Same seed, same machine, same device, same threads: same numbers.
    device : str
        ``"cpu"`` or ``"cuda"``.
    progress : callable, optional
        Called with the fraction done, in [0, 1], and a message.
    unfinished : UnfinishedTraining, optional
        Where unfinished training is saved, and taken up again.
    others : ResidualNet, optional
        The network of other people at the session's electrodes: it counts beside the session's
        own networks as far as blocks held out tell.

    Returns
    -------
    ResidualNet or None
        None where no network is better than the linear fit by more than its standard error, and
        for sessions under ``LEAST_S`` seconds.

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
    if sum(shape[0] for shape in shapes) < LEAST_S * linear.sfreq:
        return None
    settings = settings or ResidualSettings()
    kernel, step = encoder_taps(linear.sfreq)
    task = _prepare(segments, linear, kernel, step)
    _require_torch(device)
    from calibration.residual.training import learn_bag, train

    nets = train(task, settings, seed, device, progress or _silent, unfinished)
    gains, ratios = output_gains(task, nets, settings.bag_size, linear.sfreq)
    if not gains.any():
        return None
    beside = _Beside.of(others, task, nets, gains, segments, settings, linear.sfreq)
    if beside is not None:
        gains, ratios = gains * beside.shares.own, beside.shares.ratios
    if settings.one_steps:
        given = None if beside is None else beside.shares.others * beside.given
        taught = learn_bag(task, nets, gains, settings, seed, device, given)
        layers, blocks = _one_network([taught], task, np.ones(len(gains)))
    else:
        used = nets if beside is None else those_beside(nets, beside.net, settings.n_units)
        layers, blocks = _one_network(used, task, gains)
    net = ResidualNet(kernel, layers, blocks, linear.n_look_ahead, gains, ratios)
    if beside is None:
        return net
    if not settings.one_steps:
        net = join(net, beside.net, beside.shares.others)
    shares = (beside.shares.own, beside.shares.others)
    return replace(net, trained_on=beside.net.trained_on, shares=shares)


@dataclass(frozen=True)
class _Beside:
    """The other people's network, and what it gives and counts beside the session's own."""

    net: ResidualNet
    given: FloatArray
    shares: Shares

    @classmethod
    def of(
        cls,
        net: ResidualNet | None,
        task: Task,
        nets: Sequence[TrainedNetwork],
        gains: FloatArray,
        segments: Sequence[Segment],
        settings: ResidualSettings,
        sfreq: float,
    ) -> _Beside | None:
        """None where there is none, it is of another make, or adds too little."""
        if net is None or not can_join(net, settings.n_units, settings.n_blocks, task.step):
            return None
        given = np.concatenate([net.predict(x) for x, _ in segments])
        shares = shares_beside(task, nets, gains, given, settings.bag_size, sfreq)
        return None if shares is None else cls(net, given, shares)


def _silent(fraction: float, message: str) -> None:
    """Report nothing."""


def _require_torch(device: str) -> None:
    """Raise a CalibrationError unless torch is installed and sees the device."""
    try:
        import torch
    except ImportError as error:
        raise CalibrationError(
            "The non-linear residual needs torch, which is not installed. "
            "Install emag-rt[calibrate], or calibrate with the closed form alone."
        ) from error
    if device not in ("cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise CalibrationError(
            f"device must be 'cpu', or 'cuda' where torch sees a GPU, got {device!r}. Use 'cpu'."
        )


def _prepare(segments: Sequence[Segment], linear: LinearFit, kernel: FloatArray, step: int) -> Task:
    """Encode the inputs and take the held-out residuals, both scaled to unit variance."""
    sfreq, ahead = linear.sfreq, linear.n_look_ahead
    z = np.concatenate([apply_taps(x, kernel, ahead).reshape(len(x), -1) for x, _ in segments])
    missed = [y - p for (_, y), p in zip(segments, linear.predict_held_out(segments), strict=True)]
    # Loud stretches (movement, blinks) would own the loss: weigh by local power.
    size = max(1, round(_POWER_WINDOW_S * sfreq))
    power = np.concatenate([uniform_filter1d((r**2).mean(axis=1), size) for r in missed])
    relative = power / max(float(np.median(power)), np.finfo(float).tiny)
    weight = (relative + 0.1) ** -_LOUDNESS_EXPONENT
    r = np.concatenate(missed)
    z_scale, r_scale = z.std(axis=0), r.std(axis=0)
    z_scale, r_scale = np.where(z_scale > 0, z_scale, 1.0), np.where(r_scale > 0, r_scale, 1.0)
    lengths, blocks = tuple(len(x) for x, _ in segments), linear.blocks
    splits, guard = range(n_splits_of(blocks)), linear.n_lags
    return Task(
        z=(z / z_scale).astype(np.float32),
        r=(r / r_scale).astype(np.float32),
        sample_weight=(weight / weight.mean()).astype(np.float32),
        z_scale=z_scale,
        r_scale=r_scale,
        lengths=lengths,
        blocks=blocks,
        train=tuple(training_rows(lengths, blocks, k, guard) for k in splits),
        held=tuple(np.flatnonzero(held_out_rows(lengths, blocks, k)) for k in splits),
        step=step,
    )


def _one_network(
    nets: Sequence[TrainedNetwork], task: Task, gains: FloatArray
) -> tuple[tuple[Layer, Layer], Blocks]:
    """Write the mean of networks as one on unscaled inputs, its output in µV and shrunk."""
    used = [net.weights for net in nets if net.weights is not None]
    scale = (gains * task.r_scale / len(used))[:, None]
    into = np.concatenate([w["into.weight"].T / task.z_scale for w in used])
    bias_in = np.concatenate([w["into.bias"][0] for w in used])
    out_of = np.concatenate([w["out.weight"].T * scale for w in used], axis=1)
    bias_out = np.sum([w["out.bias"][0] * scale[:, 0] for w in used], axis=0)
    blocks: list[DilatedBlock] = []
    while f"blocks.{len(blocks)}.mix.weight" in used[0]:
        parts: list[Samples] = []
        for layer in (f"blocks.{len(blocks)}.inner", f"blocks.{len(blocks)}.mix"):
            weights = [w[f"{layer}.weight"].T for w in used]
            biases = [w[f"{layer}.bias"][0] for w in used]
            parts += [np.stack(weights).astype(float), np.concatenate(biases).astype(float)]
        blocks.append(DilatedBlock(task.step * 2 ** len(blocks), *parts))
    pairs = ((into, bias_in), (out_of, bias_out))
    first, last = ((w.astype(np.float32), b.astype(np.float32)) for w, b in pairs)
    return (first, last), tuple(blocks)
