"""A bundle's arrays under the names they have in ``field.safetensors``."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.bundle.bundle import Baseline
from emag_rt.bundle.manifest import Manifest
from emag_rt.core.activation import Activation
from emag_rt.core.dilated import Blocks, DilatedBlock, memory_of
from emag_rt.core.drive import Drive, HiddenBranch, n_units
from emag_rt.core.field import GaussianField
from emag_rt.core.folding import PackedHidden, PackedOperator, context_of
from emag_rt.core.forward import ForwardMatrix
from emag_rt.core.model import FieldModel
from emag_rt.core.output_statistics import OutputStatistics
from emag_rt.errors import BundleError, short

Tensors = dict[str, FloatArray]
MAX_DILATION = 100_000
MAX_BLOCKS = 32
MAX_FILL_INPUTS = 2048
"""Lags times LD channels that a bad one is filled from: a matrix of as many rows is inverted."""
MAX_ORDER = 256
"""Samples that the noise of a simulated output remembers."""
MAX_TRANSPORT = 1e3
MAX_NOISE_UV = 1e6
MAX_MEMORY = 400_000
"""Samples: a little more than two seconds at 100 kHz."""


def model_tensors(model: FieldModel) -> Tensors:
    """Arrays of a model."""
    field, drive = model.field, model.drive
    out: Tensors = {
        "field.centers_mm": field.centers_mm,
        "field.mu_s": field.mu_s,
        "field.cholesky": field.cholesky,
        "field.amplitudes": field.amplitudes,
        "drive.taps": drive.taps,
        "drive.readout": drive.readout,
        "scale_uv": model.scale_uv,
    }
    if drive.hidden is not None:
        hidden = drive.hidden
        out |= {"hidden.taps": hidden.taps, "hidden.readout": hidden.readout}
        out |= {"hidden.gains": hidden.gains} | _layers("hidden", hidden.layers)
        out |= _block_tensors("hidden", hidden.blocks)
    if model.forward is not None:
        out |= {"forward.matrix": model.forward.matrix}
        out |= {"forward.positions_mm": model.forward.positions_mm}
    return out


def operator_tensors(operator: PackedOperator) -> Tensors:
    """Arrays of a folded operator."""
    out: Tensors = {
        "packed.taps": operator.taps,
        "packed.weights": operator.weights,
        "packed.bias": operator.bias,
    }
    if operator.hidden is not None:
        hidden = operator.hidden
        out |= {"packed.hidden.taps": hidden.taps, "packed.hidden.out_taps": hidden.out_taps}
        out |= {"packed.hidden.weights": hidden.weights}
        out |= _layers("packed.hidden", hidden.layers)
        out |= _block_tensors("packed.hidden", hidden.blocks)
    return out


def baseline_tensors(baselines: dict[str, Baseline]) -> Tensors:
    """Arrays of the baselines."""
    out: Tensors = {}
    for name, baseline in baselines.items():
        out |= {f"baseline.{name}.weights": baseline.weights}
        out |= {f"baseline.{name}.bias": baseline.bias}
    return out


def statistics_tensors(statistics: OutputStatistics) -> Tensors:
    """Arrays of the output's statistics."""
    return {
        "statistics.transport": statistics.transport,
        "statistics.mixing": statistics.mixing,
        "statistics.reflection": statistics.reflection,
        "statistics.cost": np.array([statistics.cost]),
        "statistics.noise_cost": np.array([statistics.noise_cost]),
    }


def read_statistics(tensors: Tensors, manifest: Manifest) -> OutputStatistics | None:
    """The output's statistics, where the bundle has them."""
    if "statistics.noise_cost" not in tensors:  # the noise of older ones is of another kind
        return None
    n_hd = len(manifest.hd)
    mixing = take(tensors, "statistics.mixing", n_hd, None)
    reflection = take(tensors, "statistics.reflection", mixing.shape[1], None)
    found = OutputStatistics(
        take(tensors, "statistics.transport", n_hd, n_hd),
        mixing,
        reflection,
        float(take(tensors, "statistics.cost", 1)[0]),
        float(take(tensors, "statistics.noise_cost", 1)[0]),
    )
    if mixing.shape[1] > n_hd or reflection.shape[1] > MAX_ORDER:
        raise BundleError(
            f"field.safetensors: 'statistics.reflection' must have at most {n_hd} rows of at most "
            f"{MAX_ORDER}, got {reflection.shape}."
        )
    for name, values, most in (
        ("transport", found.transport, MAX_TRANSPORT),
        ("mixing", found.mixing, MAX_NOISE_UV),
        ("reflection", found.reflection, 1.0 - 1e-9),
        ("cost", np.array([found.cost]), MAX_TRANSPORT),
        ("noise_cost", np.array([found.noise_cost]), MAX_TRANSPORT),
    ):
        largest = float(np.abs(values).max())
        if largest > most:
            raise BundleError(
                f"field.safetensors: 'statistics.{name}' must hold numbers up to {most:g}, got "
                f"{largest:.3g}. Calibrate again."
            )
    return found


def _layers(prefix: str, layers: tuple[tuple[FloatArray, FloatArray], ...]) -> Tensors:
    out: Tensors = {}
    for i, (weight, bias) in enumerate(layers):
        out[f"{prefix}.layers.{i}.weight"] = weight
        out[f"{prefix}.layers.{i}.bias"] = bias
    return out


def _block_tensors(prefix: str, blocks: Blocks) -> Tensors:
    out: Tensors = {}
    for i, block in enumerate(blocks):
        key = f"{prefix}.blocks.{i}"
        out[f"{key}.dilation"] = np.array([block.dilation], dtype=np.float64)
        for name in ("weight", "bias", "mix", "mix_bias"):
            out[f"{key}.{name}"] = np.asarray(getattr(block, name), dtype=np.float64)
    return out


def _read_blocks(tensors: Tensors, prefix: str) -> Blocks:
    """Dilated blocks; shapes are checked by the blocks and by what they are put into."""
    blocks: list[DilatedBlock] = []
    while f"{prefix}.blocks.{len(blocks)}.dilation" in tensors:
        key = f"{prefix}.blocks.{len(blocks)}"
        (dilation,) = take(tensors, f"{key}.dilation", 1)
        if not (dilation == round(dilation) and 1 <= dilation <= MAX_DILATION):
            raise BundleError(
                f"field.safetensors: '{key}.dilation' must be a whole number from 1 to "
                f"{MAX_DILATION}, got {dilation}."
            )
        weight = take(tensors, f"{key}.weight", None, None, None)
        n_nets, n_units, _ = weight.shape
        blocks.append(
            DilatedBlock(
                int(dilation),
                take(tensors, f"{key}.weight", n_nets, n_units, 2 * n_units),
                take(tensors, f"{key}.bias", n_nets * n_units),
                take(tensors, f"{key}.mix", n_nets, n_units, n_units),
                take(tensors, f"{key}.mix_bias", n_nets * n_units),
            )
        )
    start = f"{prefix}.blocks."
    found = {name[len(start) :].split(".")[0] for name in tensors if name.startswith(start)}
    if len(found) != len(blocks) or len(blocks) > MAX_BLOCKS:
        raise BundleError(
            f"field.safetensors: '{prefix}.blocks' must be numbered from 0 without a gap, each "
            f"with its dilation, {MAX_BLOCKS} at most, got {sorted(found)}."
        )
    if memory_of(tuple(blocks)) > MAX_MEMORY or len({b.weight.shape for b in blocks}) > 1:
        raise BundleError(
            f"field.safetensors: '{prefix}.blocks' must be of one shape and look back {MAX_MEMORY} "
            f"samples at most, got {memory_of(tuple(blocks))} and shapes "
            f"{sorted({b.weight.shape for b in blocks})}."
        )
    return tuple(blocks)


def _read_layers(tensors: Tensors, prefix: str) -> tuple[tuple[FloatArray, FloatArray], ...]:
    """Layers that chain; the first is dense, further ones may be block-diagonal (3-D)."""
    layers: list[tuple[FloatArray, FloatArray]] = []
    width: int | None = None
    while f"{prefix}.layers.{len(layers)}.weight" in tensors:
        key = f"{prefix}.layers.{len(layers)}"
        blocks = (None,) if layers and tensors[f"{key}.weight"].ndim == 3 else ()
        weight = take(tensors, f"{key}.weight", *blocks, None, None)
        n_out, n_in = n_units(weight)
        if width is not None and n_in != width:
            raise BundleError(
                f"field.safetensors: {key}.weight must take the {width} outputs of the layer "
                f"before, got {n_in}."
            )
        layers.append((weight, take(tensors, f"{key}.bias", n_out)))
        width = n_out
    if not layers:
        raise BundleError(f"field.safetensors: {prefix} must have layers, got none.")
    return tuple(layers)


def take(tensors: Tensors, name: str, *shape: int | None) -> FloatArray:
    """An array that must be there, not empty, with the given shape (None for any length)."""
    value = tensors.get(name)
    if value is None:
        raise BundleError(f"field.safetensors must hold {name!r}; it does not. Calibrate again.")
    fits = value.ndim == len(shape) and all(
        n > 0 and w in (None, n) for w, n in zip(shape, value.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if w is None else str(w) for w in shape)
        raise BundleError(
            f"field.safetensors: {name!r} must have shape ({wanted}), got {value.shape}."
        )
    return value


def read_model(tensors: Tensors, manifest: Manifest, activation: Activation) -> FieldModel:
    """Model from arrays; shapes are checked by the classes it is made of."""
    n_ld = len(manifest.ld)
    centers = take(tensors, "field.centers_mm", None, 3)
    mu_s = take(tensors, "field.mu_s", len(centers), None)
    n_points, n_gaussians = mu_s.shape
    field = GaussianField(
        centers,
        mu_s,
        take(tensors, "field.cholesky", n_points, n_gaussians, 4, 4),
        take(tensors, "field.amplitudes", n_points, n_gaussians),
    )
    hidden = None
    if "hidden.taps" in tensors:
        hidden = HiddenBranch(
            take(tensors, "hidden.taps", None, None),
            _read_layers(tensors, "hidden"),
            activation,
            take(tensors, "hidden.readout", n_points, None),
            take(tensors, "hidden.gains", n_gaussians),
            _read_blocks(tensors, "hidden"),
        )
    forward = None
    if "forward.matrix" in tensors:
        matrix = take(tensors, "forward.matrix", None, n_points)
        forward = ForwardMatrix(matrix, take(tensors, "forward.positions_mm", len(matrix), 3))
    taps = take(tensors, "drive.taps", None, None)
    readout = take(tensors, "drive.readout", n_points, n_gaussians, len(taps) * n_ld)
    return FieldModel(
        field,
        Drive(taps, readout, hidden),
        take(tensors, "scale_uv", n_ld),
        manifest.sfreq,
        manifest.anchor,
        manifest.n_lags,
        manifest.look_ahead_samples,
        manifest.n_window,
        forward,
    )


def read_operator(tensors: Tensors, manifest: Manifest, activation: Activation) -> PackedOperator:
    """Folded operator from arrays."""
    n_ld, n_out = len(manifest.ld), len(manifest.hd)
    taps = take(tensors, "packed.taps", None, None)
    n_positions = manifest.n_window if manifest.anchor == "window" else 1
    hidden = None
    if "packed.hidden.taps" in tensors:
        encoder = take(tensors, "packed.hidden.taps", None, None)
        layers = _read_layers(tensors, "packed.hidden")
        take(tensors, "packed.hidden.layers.0.weight", None, len(encoder) * n_ld)
        out_taps = take(tensors, "packed.hidden.out_taps", None, None)
        width = len(layers[-1][1]) * len(out_taps)
        hidden = PackedHidden(
            encoder,
            layers,
            activation,
            out_taps,
            take(tensors, "packed.hidden.weights", n_positions, n_out, width),
            _packed_blocks(tensors, len(layers), len(layers[-1][1])),
        )
    return PackedOperator(
        manifest.anchor,
        n_ld,
        n_out,
        manifest.look_ahead_samples,
        context_of(taps, hidden, manifest.look_ahead_samples),
        taps,
        take(tensors, "packed.weights", n_positions, n_out, len(taps) * n_ld),
        take(tensors, "packed.bias", n_positions, n_out),
        hidden,
    )


def _packed_blocks(tensors: Tensors, n_layers: int, width: int) -> Blocks:
    blocks = _read_blocks(tensors, "packed.hidden")
    if blocks and (n_layers != 1 or any(block.width != width for block in blocks)):
        raise BundleError(
            f"field.safetensors: packed.hidden.blocks must follow one layer of their width, got "
            f"{n_layers} layers to {width} units and blocks of {[b.width for b in blocks]}."
        )
    return blocks


def read_covariance(tensors: Tensors, manifest: Manifest) -> FloatArray:
    """Calibration covariance of the LD channels: without it bad channels cannot be judged."""
    n_ld = len(manifest.ld)
    covariance = take(tensors, "ld_covariance", n_ld, n_ld)
    if not np.allclose(covariance, covariance.T) or not (np.diag(covariance) > 0).all():
        raise BundleError(
            "field.safetensors: 'ld_covariance' must be symmetric with a positive diagonal."
        )
    eigenvalues = np.linalg.eigvalsh(covariance)
    if eigenvalues[0] < -1e-6 * eigenvalues[-1]:
        raise BundleError(
            f"field.safetensors: 'ld_covariance' must be a covariance (no negative eigenvalue), "
            f"got one of {eigenvalues[0]:.3g} beside {eigenvalues[-1]:.3g} µV²."
        )
    return covariance


def read_lagged_covariance(tensors: Tensors, manifest: Manifest) -> FloatArray | None:
    """Calibration covariance of the LD channels with their own past, where the bundle has it."""
    name = "ld_lagged_covariance"
    if name not in tensors:
        return None
    n_ld = len(manifest.ld)
    lagged = take(tensors, name, None, n_ld, n_ld)
    present = read_covariance(tensors, manifest)
    most = max(1, MAX_FILL_INPUTS // n_ld)
    if not 0 < len(lagged) <= most:
        raise BundleError(
            f"field.safetensors: {name!r} must hold 1 to {most} lags, got {len(lagged)}."
        )
    if not np.allclose(lagged[0], present):
        raise BundleError(
            f"field.safetensors: {name!r} must begin with 'ld_covariance'; it does not: damaged."
        )
    return lagged


def read_baselines(tensors: Tensors, manifest: Manifest) -> dict[str, Baseline]:
    """Baselines from arrays."""
    prefix, suffix = "baseline.", ".weights"
    keys = [key for key in tensors if key.startswith(prefix) and key.endswith(suffix)]
    names = sorted(key.removeprefix(prefix).removesuffix(suffix) for key in keys)
    strange = [name for name in names if not name.isidentifier()]
    if strange:
        raise BundleError(
            f"field.safetensors: baselines must have plain names, got {short(strange[0])}."
        )
    n_ld, n_hd = len(manifest.ld), len(manifest.hd)
    return {
        name: Baseline(
            take(tensors, f"{prefix}{name}{suffix}", None, n_ld, n_hd),
            take(tensors, f"{prefix}{name}.bias", n_hd),
        )
        for name in names
    }
