"""Reading the EMAG authors' checkpoints (``.pt``; arXiv 2605.29731) into a ``window`` field.

What is taken to be so, because a checkpoint does not say it:

- N Gaussians = points x G, the G Gaussians of a point next to each other; ``amplitude``,
  ``mu_t`` and the factors follow that order.
- L has ``exp(chol_log_diag)`` on its diagonal (x, y, z in 1/mm, t in 1/s), and below it, row by
  row, L10, L20, L21, L30, L31, L32; the kernel is exp(-1/2 ||L^T d||^2).
- The grid is the uniform lattice over [-90, 90] mm with both ends, x slowest and z fastest
  (``indexing="ij"``), cut to a sphere where the support is one, unless the checkpoint brings its
  centres along (``grid`` or ``grid_pos``).
- tau = t / sfreq - mu_t, t the place in the window.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from emag_rt.array_types import FloatArray, IndexArray
from emag_rt.core.drive import HiddenBranch
from emag_rt.core.field import GaussianField
from emag_rt.core.grid import HALF_WIDTH_MM, lattice
from emag_rt.errors import CalibrationError

GridIndex = Literal["auto", "support", "cube"]

# Rate in Hz and window in samples of the paper's datasets.
DATASETS = {"seed": (200.0, 800), "seediv": (200.0, 800), "localizemi": (8000.0, 2081)}
_WRAPPERS = ("module.", "_orig_mod.")
_MAX_LOG = 30.0
_BELOW = np.tril_indices(4, k=-1)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a checkpoint holds, checked.

    Attributes
    ----------
    field : GaussianField
        The mixture; the modulator's bias is in the amplitudes. Unit: the network's (z-scores).
    hidden : HiddenBranch
        Encoder and modulator up to the last ReLU; the modulator's last weights are the readout.
    positions_mm : ndarray, shape (n_hd, 3)
        HD electrodes, in the grid's frame.
    sfreq : float or None
        Rate in Hz, where the configuration or the dataset tells it.
    n_window : int or None
        Samples in a window, likewise.
    dataset : str
        As the checkpoint calls it; may be empty.
    sha256 : str
        Of the file.
    notes : tuple of str
        How things were read that could be read in more than one way.
    """

    field: GaussianField
    hidden: HiddenBranch
    positions_mm: FloatArray
    sfreq: float | None
    n_window: int | None
    dataset: str
    sha256: str
    notes: tuple[str, ...]

    @property
    def n_ld(self) -> int:
        """Number of LD channels."""
        return int(self.hidden.layers[0][0].shape[1])


def read_checkpoint(
    path: str | Path,
    *,
    grid_resolution: int | None = None,
    grid_support: str | None = None,
    grid_index: GridIndex = "auto",
) -> Checkpoint:
    """Read a checkpoint; nothing in it is run (``weights_only=True``).

    Parameters
    ----------
    path : path-like
        The ``.pt`` file.
    grid_resolution : int, optional
        Points along an axis, instead of the configuration's.
    grid_support : {"cube", "sphere"}, optional
        Instead of the configuration's.
    grid_index : {"auto", "support", "cube"}
        What ``active_grid_idx`` counts: points of the lattice after it was cut to the support,
        or of the whole cube. ``auto`` takes the one that fits.

    Returns
    -------
    Checkpoint
        Arrays in float64.

    Raises
    ------
    CalibrationError
        If the file cannot be read safely, or an array is missing, of a wrong shape, or not
        finite; the message names it.
    """
    path = Path(path)
    if grid_index not in get_args(GridIndex):
        raise CalibrationError(f"grid_index must be auto, support or cube, got {grid_index!r}.")
    content, digest = _load(path)
    notes: list[str] = []
    try:
        state = _Arrays(content["model_state_dict"], notes)
        config = content.get("config") or {}
        if not isinstance(config, Mapping):
            raise CalibrationError(f"config must be a mapping, got {type(config).__name__}.")
        hidden_layers, readout, bias = _network(state)
        n = state.length("amplitude")
        n_gaussians = _gaussians_per_point(config, n, len(bias), notes)
        n_points = n // n_gaussians
        support = _Grid(config, grid_resolution, grid_support, grid_index)
        centers = support.centers(state, n_points, notes)
        readout, bias = (np.broadcast_to(a, (n_points, *a.shape[1:])) for a in (readout, bias))
        shape = (n_points, n_gaussians)
        amplitudes = state.take("amplitude", n).reshape(shape) + bias[:, None]
        mu_s = state.take("mu_t", n).reshape(shape)
        field = GaussianField(centers, mu_s, _cholesky(state, n).reshape(*shape, 4, 4), amplitudes)
        hidden = HiddenBranch(
            np.ones((1, 1)), hidden_layers, "relu", np.array(readout), np.ones(n_gaussians)
        )
        positions = _electrodes(state)
        dataset = str(config.get("dataset") or "")
        sfreq, n_window = _time_axis(config, dataset)
    except CalibrationError as error:
        raise CalibrationError(f"checkpoint {path.name}: {error}") from error
    return Checkpoint(
        field, hidden, positions, sfreq, n_window, dataset, digest, tuple(dict.fromkeys(notes))
    )


def _load(path: Path) -> tuple[dict[str, Any], str]:
    try:
        import torch
    except ImportError as error:
        raise CalibrationError(
            "importing a checkpoint needs torch. Install it: pip install 'emag-rt[calibrate]'."
        ) from error
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CalibrationError(
            f"checkpoint {path}: cannot be read: {error.strerror or error}."
        ) from error
    except Exception as error:  # torch raises many kinds on what it does not trust or know
        reason = " ".join(str(error).split())[:200]
        raise CalibrationError(
            f"checkpoint {path}: must load with weights_only=True, got {type(error).__name__}: "
            f"{reason}. Objects other than tensors and plain values are never loaded; save it "
            "again with its config as a dict: torch.save({'model_state_dict': ..., 'config': "
            "vars(config)}, FILE)."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("model_state_dict"), Mapping):
        found = ", ".join(map(str, list(content)[:6])) if isinstance(content, dict) else "no dict"
        raise CalibrationError(
            f"checkpoint {path}: must hold the key 'model_state_dict', got {found}. Is it a "
            "checkpoint of EMAG?"
        )
    return content, digest


class _Arrays:
    """A state dict as float64 arrays whose shape is checked when they are taken."""

    def __init__(self, state: Mapping[str, Any], notes: list[str]) -> None:
        names = {str(name): name for name in state}
        for wrapper in _WRAPPERS:
            if names and all(name.startswith(wrapper) for name in names):
                names = {name.removeprefix(wrapper): key for name, key in names.items()}
                notes.append(f"names of the state dict read without {wrapper!r}")
        self._tensors = {name: state[key] for name, key in names.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def _raw(self, name: str) -> NDArray[Any]:
        if name not in self._tensors:
            raise CalibrationError(
                f"model_state_dict must hold {name!r}; it holds "
                f"{', '.join(sorted(self._tensors)[:24]) or 'nothing'}."
            )
        value = self._tensors[name]
        if not hasattr(value, "detach"):
            raise CalibrationError(f"{name} must be a tensor, got {type(value).__name__}.")
        return np.asarray(value.detach().cpu().double().numpy(), dtype=np.float64)

    def length(self, name: str) -> int:
        """Length of an array of one axis."""
        return len(self.take(name, None))

    def take(self, name: str, *shape: int | None) -> FloatArray:
        """Array of the given shape (None: any length), finite."""
        value = self._raw(name)
        fits = value.ndim == len(shape) and all(
            n > 0 and want in (None, n) for want, n in zip(shape, value.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise CalibrationError(f"{name} must have shape ({wanted}), got {value.shape}.")
        if not np.isfinite(value).all():
            count = int((~np.isfinite(value)).sum())
            raise CalibrationError(
                f"{name} must be finite, got {count} NaN or infinite values. Did training "
                "diverge? Take an earlier checkpoint."
            )
        return value


def _network(
    state: _Arrays,
) -> tuple[tuple[tuple[FloatArray, FloatArray], ...], FloatArray, FloatArray]:
    """Layers that end in a ReLU; weights and bias of the last layer, one row a point (or one)."""
    layers: list[tuple[FloatArray, FloatArray]] = []
    width: int | None = None
    for name in ("ld_encoder.0", "ld_encoder.2", "ld_modulator.0", "ld_modulator.2"):
        weight = state.take(f"{name}.weight", None, width)
        width = len(weight)
        layers.append((weight, state.take(f"{name}.bias", width)))
    readout, bias = layers.pop()
    if layers[0][0].shape[1] < 2:
        raise CalibrationError("ld_encoder.0.weight must take at least 2 LD channels, got 1.")
    return tuple(layers), readout, bias


def _gaussians_per_point(
    config: Mapping[str, Any], n: int, n_modulated: int, notes: list[str]
) -> int:
    said = _whole(config, "n_gaussians_per_point")
    if n_modulated == 1 and n > 1:
        notes.append("the modulator has one output: it drives all points alike")
        if said is None:
            raise CalibrationError(
                "config must hold n_gaussians_per_point where the modulator has one output."
            )
    elif n % n_modulated:
        raise CalibrationError(
            f"amplitude must hold a whole number of Gaussians for each of the {n_modulated} "
            f"outputs of ld_modulator.2, got {n}."
        )
    found = said if n_modulated == 1 and said is not None else n // n_modulated
    if (said is not None and said != found) or n % found:
        raise CalibrationError(
            f"config n_gaussians_per_point must fit amplitude ({n}) and ld_modulator.2 "
            f"({n_modulated} outputs: {n // n_modulated} a point), got {said}."
        )
    return found


def _cholesky(state: _Arrays, n: int) -> FloatArray:
    """Lower-triangular factors, shape (n, 4, 4), of either layout."""
    log_diagonal = state.take("chol_log_diag", n, 4)
    if np.abs(log_diagonal).max() > _MAX_LOG:
        raise CalibrationError(
            f"chol_log_diag must hold logarithms from -{_MAX_LOG:g} to {_MAX_LOG:g} (the diagonal "
            f"is its exponential), got {log_diagonal.min():g} to {log_diagonal.max():g}."
        )
    if "chol_off_diag" in state:
        below = state.take("chol_off_diag", n, 6)
    else:  # older checkpoints keep space and time apart
        parts = ("chol_off_diag_spatial", "chol_off_diag_temporal")
        below = np.concatenate([state.take(name, n, 3) for name in parts], axis=1)
    factor = np.zeros((n, 4, 4))
    factor[:, range(4), range(4)] = np.exp(log_diagonal)
    factor[:, _BELOW[0], _BELOW[1]] = below
    return factor


def _electrodes(state: _Arrays) -> FloatArray:
    positions = state.take("electrode_pos", None, 3)
    radius = float(np.median(np.linalg.norm(positions, axis=1)))
    if not 40.0 <= radius <= 250.0:
        raise CalibrationError(
            "electrode_pos must be in mm, 40 to 250 mm from the grid's origin in the median, got "
            f"{radius:.3g}.{' Metres? Multiply by 1000 and save again.' if radius < 1 else ''}"
        )
    return positions


@dataclass(frozen=True)
class _Grid:
    """Where the centres are: from the checkpoint, or rebuilt from its configuration."""

    config: Mapping[str, Any]
    resolution: int | None
    support: str | None
    index: GridIndex

    def centers(self, state: _Arrays, n_points: int, notes: list[str]) -> FloatArray:
        """Centres of the points that carry Gaussians, shape (n_points, 3), mm."""
        active = None
        if "active_grid_idx" in state:
            values = state.take("active_grid_idx", n_points)
            active = values.astype(np.intp)
            if (values != active).any() or (active < 0).any() or len(set(active)) < len(active):
                raise CalibrationError("active_grid_idx must hold different whole numbers from 0.")
        for name in ("grid", "grid_pos"):
            if name in state:
                return self._given(state.take(name, None, 3), name, active, n_points)
        return self._rebuilt(active, n_points, notes)

    def _given(
        self, grid: FloatArray, name: str, active: IndexArray | None, n_points: int
    ) -> FloatArray:
        if len(grid) == n_points:
            return grid
        if active is None or active.max() >= len(grid):
            raise CalibrationError(
                f"{name} must hold the {n_points} points that the modulator drives, or all that "
                f"active_grid_idx counts, got {len(grid)}."
            )
        return np.asarray(grid[active])

    def _rebuilt(self, active: IndexArray | None, n_points: int, notes: list[str]) -> FloatArray:
        resolution = self.resolution or _whole(self.config, "grid_resolution")
        if resolution is None or not 2 <= resolution <= 64:
            raise CalibrationError(
                f"grid_resolution must be from 2 to 64, got {resolution}. Say --grid-resolution."
            )
        support = self._support()
        cube = lattice(resolution, "cube")
        cut = lattice(resolution, support)
        notes.append(
            f"centres rebuilt: {resolution}^3 lattice, {support}, x slowest and z fastest "
            "(the checkpoint does not say its order)"
        )
        if active is None:
            if len(cut) != n_points:
                raise CalibrationError(
                    f"the {support} of resolution {resolution} has {len(cut)} points, the "
                    f"modulator drives {n_points}: without active_grid_idx they must agree. Say "
                    "--grid-resolution or --grid-support."
                )
            return cut
        space = self._counted(active, cube, cut)
        if len(cut) < len(cube):
            notes.append(f"active_grid_idx counts the {'whole cube' if space is cube else support}")
        return np.asarray(space[active])

    def _counted(self, active: IndexArray, cube: FloatArray, cut: FloatArray) -> FloatArray:
        """What the indices count; both readings are tried, and a draw is not decided here."""
        last = int(active.max())
        fits = {"support": last < len(cut)}
        if len(cut) < len(cube):
            # Chosen from the cube, all points still have to lie within the support.
            inside = np.linalg.norm(cube, axis=1) <= HALF_WIDTH_MM
            fits["cube"] = last < len(cube) and bool(inside[active].all())
            fits = {name: ok for name, ok in fits.items() if self.index in ("auto", name)}
        chosen = [name for name, ok in fits.items() if ok]
        if not chosen:
            raise CalibrationError(
                f"active_grid_idx must stay below the {len(cut)} points of the grid"
                f" (or name points of the cube within the support), got {last}. Say "
                "--grid-resolution, --grid-support or --grid-index."
            )
        if len(chosen) > 1:
            raise CalibrationError(
                "active_grid_idx can be read in two ways, as counting the whole cube or its "
                "points within the support. Say --grid-index cube or --grid-index support."
            )
        return cube if chosen == ["cube"] else cut

    def _support(self) -> Literal["cube", "sphere"]:
        asked = [self.support, self.config.get("grid_support"), self.config.get("grid_type")]
        words = [str(word).strip().lower() for word in asked if word is not None]
        for word in words:
            if word in ("cube", "sphere"):
                return cast(Literal["cube", "sphere"], word)
        raise CalibrationError(
            "grid_support (or grid_type) in config must be cube or sphere, got "
            f"{', '.join(words) or 'nothing'}. Say --grid-support, or save the centres in the "
            "state dict as 'grid' (n_points, 3) in mm."
        )


def _whole(config: Mapping[str, Any], name: str) -> int | None:
    value = config.get(name)
    if value is None:
        return None
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole:
        raise CalibrationError(f"config {name} must be a whole number, got {value!r}.")
    if value < 1:
        raise CalibrationError(f"config {name} must be at least 1, got {value!r}.")
    return int(value)


def _time_axis(config: Mapping[str, Any], dataset: str) -> tuple[float | None, int | None]:
    sfreq, n_window = DATASETS.get(re.sub("[^a-z0-9]", "", dataset.lower()), (None, None))
    own = config.get("sfreq")
    if own is not None:
        if not isinstance(own, int | float) or not 16 <= own <= 100_000:
            raise CalibrationError(f"config sfreq must be from 16 to 100000 Hz, got {own!r}.")
        sfreq = float(own)
    return sfreq, n_window
