"""Checkpoints as the EMAG authors write them, random and small; and their equation, literally."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
R_SPHERE, R_CUBE = 5, 4


def grid(resolution: int, support: str) -> FloatArray:
    """The lattice, point by point: x slowest, z fastest, both ends included."""
    axis = [-90.0 + 180.0 * i / (resolution - 1) for i in range(resolution)]
    points = [(x, y, z) for x in axis for y in axis for z in axis]
    if support == "sphere":
        points = [p for p in points if p[0] ** 2 + p[1] ** 2 + p[2] ** 2 <= 8100.0]
    return np.array(points)


def make_state(
    seed: int = 0,
    *,
    support: str = "cube",
    layout: str = "new",
    active: NDArray[np.intp] | None = None,
    n_gaussians: int = 2,
    n_ld: int = 3,
    n_hd: int = 6,
    hidden: tuple[int, int, int] = (7, 5, 6),
) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """Arrays of a state dict, float32, and a config."""
    rng = np.random.default_rng(seed)
    resolution = R_CUBE if support == "cube" else R_SPHERE
    n_points = len(grid(resolution, support)) if active is None else len(active)
    n = n_points * n_gaussians
    widths = rng.uniform(25.0, 60.0, (n, 4))
    widths[:, 3] = rng.uniform(0.01, 0.05, n)
    below = rng.normal(size=(n, 6)) * [0.01, 0.01, 0.01, 2.0, 2.0, 2.0] * 0.5
    direction = rng.normal(size=(n_hd, 3))
    state = {
        "amplitude": rng.normal(size=n),
        "mu_t": rng.uniform(0.0, 0.04, n),
        "chol_log_diag": -np.log(widths),
        "electrode_pos": 90.0 * direction / np.linalg.norm(direction, axis=1, keepdims=True),
    }
    if layout == "new":
        state["chol_off_diag"] = below
    else:
        state["chol_off_diag_spatial"] = below[:, :3]
        state["chol_off_diag_temporal"] = below[:, 3:]
    widths_in_out = [n_ld, *hidden, n_points]
    names = ("ld_encoder.0", "ld_encoder.2", "ld_modulator.0", "ld_modulator.2")
    for name, n_in, n_out in zip(names, widths_in_out[:-1], widths_in_out[1:], strict=True):
        state[f"{name}.weight"] = rng.normal(size=(n_out, n_in)) / np.sqrt(n_in)
        state[f"{name}.bias"] = 0.3 * rng.normal(size=n_out)
    state = {name: value.astype(np.float32) for name, value in state.items()}
    state["active_grid_idx"] = np.arange(n_points) if active is None else active
    config = {
        "grid_resolution": resolution,
        "grid_type": "uniform",
        "grid_support": support,
        "n_gaussians_per_point": n_gaussians,
        "dataset": "SEED",
    }
    return state, config


def write(path: Path, state: dict[str, Any], config: Any, **more: Any) -> Path:
    """Save as the authors do."""
    import torch

    tensors = {name: torch.as_tensor(np.asarray(value)) for name, value in state.items()}
    torch.save({"model_state_dict": tensors, "config": config, **more}, path)
    return path


def formula(
    state: dict[str, FloatArray],
    centers: FloatArray,
    n_gaussians: int,
    x: FloatArray,
    sfreq: float,
    n_window: int,
) -> FloatArray:
    """The paper's equation, one number at a time, from the checkpoint's own arrays.

    ``x`` (n_times, n_ld) is what the network sees; returns (n_times, n_hd).
    """
    s = {name: np.asarray(value, dtype=np.float64) for name, value in state.items()}
    if "chol_off_diag" in s:
        off = s["chol_off_diag"]
    else:
        off = np.hstack([s["chol_off_diag_spatial"], s["chol_off_diag_temporal"]])
    electrodes = s["electrode_pos"]
    out = np.zeros((len(x), len(electrodes)))
    for t, sample in enumerate(x):
        z = sample
        for name in ("ld_encoder.0", "ld_encoder.2", "ld_modulator.0"):
            z = np.maximum(s[f"{name}.weight"] @ z + s[f"{name}.bias"], 0.0)
        delta = s["ld_modulator.2.weight"] @ z + s["ld_modulator.2.bias"]
        time_s = (t % n_window) / sfreq
        for point, center in enumerate(centers):
            for g in range(n_gaussians):
                i = point * n_gaussians + g
                l10, l20, l21, l30, l31, l32 = off[i]
                d = np.exp(s["chol_log_diag"][i])
                factor = np.array(
                    [
                        [d[0], 0.0, 0.0, 0.0],
                        [l10, d[1], 0.0, 0.0],
                        [l20, l21, d[2], 0.0],
                        [l30, l31, l32, d[3]],
                    ]
                )
                amplitude = s["amplitude"][i] + delta[point if len(delta) > 1 else 0]
                for e, electrode in enumerate(electrodes):
                    offset = np.append(electrode - center, time_s - s["mu_t"][i])
                    whitened = factor.T @ offset
                    out[t, e] += amplitude * np.exp(-0.5 * whitened @ whitened)
    return out
