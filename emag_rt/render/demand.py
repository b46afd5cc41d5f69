"""What an engine would take of memory for a field, reckoned before it takes any.

A bundle of a few hundred kB may ask for far more than it holds: networks of one unit are padded to
whole vectors, stateless engines look at all of the context for every sample.
"""

from __future__ import annotations

from emag_rt.core.dilated import memory_of
from emag_rt.core.folding import PackedHidden
from emag_rt.core.lag_levels import solving_bytes
from emag_rt.errors import BundleError
from emag_rt.native.library import BLOCK, padded
from emag_rt.render.plan import RenderPlan

MAX_BYTES = 2 << 30
_LONGEST = 4096  # rows that an engine computes at once, at most
_HISTORY_ROWS = 1024
_TEMPORARIES = 6  # arrays of the size of its input that a block of the networks makes
_KERNEL_TEMPORARIES = 8


def check_demand(engine: str, plan: RenderPlan) -> None:
    """Refuse a field for which an engine would need more than 2 GiB.

    Parameters
    ----------
    engine : {"native", "onnx", "packed", "torch", "direct"}
        Which one.
    plan : RenderPlan
        What it would render.

    Raises
    ------
    BundleError
        If it would need more.
    """
    wanted = _DEMANDS[engine](plan)
    if wanted > MAX_BYTES:
        raise BundleError(
            f"engine {engine}: a field must need at most {MAX_BYTES >> 20} MiB of memory, this one "
            f"needs {wanted / (1 << 20):.0f} MiB. Take another --engine, or calibrate again."
        )


def _native(plan: RenderPlan) -> int:
    op, hidden = plan.operator, plan.operator.hidden
    n_in, n_out = padded(op.n_ld), padded(op.n_out)
    wanted = 8 * (op.look_ahead + BLOCK) * (op.n_ld + 1) + 4 * len(op.taps) * n_in * n_out
    # What each lag under BLOCK counts; where levels meet there are some more than BLOCK.
    wanted += 4 * n_in * n_out * min(2 * BLOCK, 2 * op.taps.shape[1])
    features = len(op.taps) * n_in
    if hidden is not None and hidden.blocks:
        n_nets, n_units, _ = hidden.blocks[0].weight.shape
        width, n_read = n_nets * padded(n_units), len(hidden.out_taps)
        rows = memory_of(hidden.blocks) + (1 + BLOCK) * len(hidden.blocks)
        wanted += 4 * 2 * width * (rows + hidden.out_taps.shape[1] + BLOCK)
        wanted += 4 * width * (3 * padded(n_units) * len(hidden.blocks) + n_read * n_out)
        wanted += 4 * width * (len(hidden.taps) * n_in + (2 + len(hidden.blocks)) * BLOCK)
        features = max(features, len(hidden.taps) * n_in, n_read * width)
    return wanted + 4 * BLOCK * (features + n_in + 2 * n_out) + solving_bytes(*op.taps.shape)


def _packed(plan: RenderPlan) -> int:
    op = plan.operator
    rows = 2 * (op.n_context + op.look_ahead) + 2 * _HISTORY_ROWS + _LONGEST
    wanted = 8 * rows * op.n_ld + 4 * _LONGEST * (len(op.taps) * op.n_ld + op.n_out)
    return wanted + (_streamed(op.hidden, 4) if op.hidden is not None else 0)


def _streamed(hidden: PackedHidden, itemsize: int) -> int:
    """Networks that keep what they need of the past."""
    width = max(len(bias) for _, bias in hidden.layers)
    rows = 2 * (memory_of(hidden.blocks) + hidden.out_taps.shape[1])
    rows += (len(hidden.blocks) + 1) * _HISTORY_ROWS + _TEMPORARIES * _LONGEST
    return itemsize * width * (rows + _LONGEST * len(hidden.out_taps))


def _onnx(plan: RenderPlan) -> int:
    op, hidden = plan.operator, plan.operator.hidden
    rows = op.n_context + _LONGEST
    # A convolution lays out what each tap of it looks at.
    wanted = 4 * op.taps.shape[1] * _LONGEST + 4 * rows * op.n_ld * 4
    wanted += 4 * _LONGEST * len(op.taps) * op.n_ld
    if hidden is not None:
        width = max(len(bias) for _, bias in hidden.layers)
        wanted += 4 * rows * (_TEMPORARIES * width + 2 * len(hidden.taps) * op.n_ld)
        wanted += 4 * hidden.out_taps.shape[1] * _LONGEST
    return wanted


def _direct(plan: RenderPlan) -> int:
    """Without the kernels of all lags, which are counted as they are made."""
    model = plan.model
    n_terms = model.field.n_points * model.field.n_gaussians
    wanted = 8 * n_terms * (_KERNEL_TEMPORARIES * len(plan.positions_mm) + 2 * _LONGEST // 8)
    wanted += 8 * 2 * (model.n_context + model.look_ahead + _LONGEST) * model.n_ld
    hidden = model.drive.hidden
    if hidden is not None:
        width = max(len(bias) for _, bias in hidden.layers)
        rows = 2 * (memory_of(hidden.blocks) + model.n_lags) + _TEMPORARIES * _LONGEST
        wanted += 8 * width * (rows + len(hidden.blocks) * _HISTORY_ROWS)
    return wanted


_DEMANDS = {
    "native": _native,
    "packed": _packed,
    "torch": _packed,
    "onnx": _onnx,
    "direct": _direct,
}
