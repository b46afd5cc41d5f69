"""The equation as written against the same field folded."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from emag_rt.array_types import FloatArray
from emag_rt.bench.rendering import RenderFigure, RenderSettings, time_hops
from emag_rt.core.direct import render_direct
from emag_rt.core.drive import Drive, HiddenBranch
from emag_rt.core.field import GaussianField, isotropic_cholesky
from emag_rt.core.folding import fold
from emag_rt.core.grid import lattice
from emag_rt.core.model import FieldModel
from emag_rt.errors import EmagError
from emag_rt.render import ENGINES, RenderPlan, make_renderer
from emag_rt.synthetic.standin import cap_of

Tell = Callable[[str], None]
_MU_S = (0.0, 0.25, 0.5)
_WIDTH_S, _WIDTH_MM = 0.1, 15.0
_TRIALS = 20


@dataclass(frozen=True)
class DirectSettings:
    """The paper's size of field.

    Attributes
    ----------
    resolution : int
        Of the grid in the sphere; 20 keeps 3,544 points.
    n_ld, n_hd : int
        Electrodes.
    window : int
        Samples.
    sfreq : float
        Rate in Hz.
    n_rows : int
        Samples that the equation as written renders; its time grows with them in proportion.
    """

    resolution: int = 20
    n_ld: int = 32
    n_hd: int = 256
    window: int = 100
    sfreq: float = 200.0
    n_rows: int = 100


def paper_like(settings: DirectSettings, seed: int = 0) -> FieldModel:
    """A field of the ``window`` anchor with three Gaussians a point, as in the paper.

    Parameters
    ----------
    settings : DirectSettings
        Sizes.
    seed : int
        Of the random numbers.

    Returns
    -------
    FieldModel
        With the paper's encoder (64 and 32 units, ReLU), driving each point's Gaussians.
    """
    rng = np.random.default_rng(seed)
    centers = lattice(settings.resolution, "sphere")
    n_points, n_gaussians = len(centers), len(_MU_S)
    field = GaussianField(
        centers,
        np.tile(_MU_S, (n_points, 1)),
        isotropic_cholesky(n_points, _WIDTH_MM, np.full(n_gaussians, _WIDTH_S)),
        rng.normal(size=(n_points, n_gaussians)),
    )
    layers = tuple(
        (rng.normal(size=shape) / np.sqrt(shape[1]), 0.1 * rng.normal(size=shape[0]))
        for shape in ((64, settings.n_ld), (32, 64), (32, 32))
    )
    hidden = HiddenBranch(
        np.ones((1, 1)), layers, "relu", rng.normal(size=(n_points, 32)), np.ones(n_gaussians)
    )
    readout = rng.normal(size=(n_points, n_gaussians, settings.n_ld)) / settings.n_ld
    return FieldModel(
        field,
        Drive(np.ones((1, 1)), readout, hidden),
        np.full(settings.n_ld, 15.0),
        settings.sfreq,
        "window",
        n_window=settings.window,
    )


def compare_direct(
    settings: DirectSettings,
    engines: tuple[str, ...] = ENGINES,
    tell: Tell = lambda _line: None,
) -> dict[str, Any]:
    """Time :func:`emag_rt.core.direct.render_direct` and the folded engines on one model.

    Parameters
    ----------
    settings : DirectSettings
        Sizes.
    engines : tuple of str
        Folded engines to try; ``direct`` among them is passed over.
    tell : callable
        Called with what goes on.

    Returns
    -------
    dict
        ``n_gaussians``, ``direct_s`` for the window, ``fold_s``, and for each engine
        ``window_ms``, ``ratio`` and ``relative_difference``, or the ``reason`` it does not run.
    """
    model = paper_like(settings)
    positions = cap_of(settings.n_hd).positions_mm
    rng = np.random.default_rng(1)
    ld = 15.0 * rng.normal(size=(settings.window, settings.n_ld))
    n_rows = min(settings.n_rows, settings.window)
    tell(f"the equation as written: {settings.n_hd} electrodes, {n_rows} samples")
    with threadpool_limits(1):
        begun = time.perf_counter()
        truth = render_direct(model, positions, ld[:n_rows])
        direct_s = (time.perf_counter() - begun) * settings.window / n_rows
        truth += ld[:n_rows].mean(axis=1, keepdims=True)
        begun = time.perf_counter()
        operator = fold(model, positions)
        fold_s = time.perf_counter() - begun
        plan = RenderPlan(model, operator, positions)
        found = {}
        for name in engines:
            if name != "direct":
                tell(f"folded: {name}")
                found.update(_folded(name, plan, ld, truth, direct_s))
    return {
        "n_gaussians": model.field.n_points * model.field.n_gaussians,
        "n_hd": settings.n_hd,
        "window": settings.window,
        "direct_rows": n_rows,
        "direct_s": round(direct_s, 4),
        "fold_s": round(fold_s, 4),
        "engines": found,
    }


def sweep_gaussians(
    settings: DirectSettings,
    resolutions: Sequence[int],
    render: RenderSettings,
    tell: Tell = lambda _line: None,
) -> list[RenderFigure]:
    """Time one sample and one window on all engines, ``direct`` too, as the grid grows.

    Parameters
    ----------
    settings : DirectSettings
        Sizes of the field but for its grid.
    resolutions : sequence of int
        Grids.
    render : RenderSettings
        Engines, and time for each figure.
    tell : callable
        Called with what goes on.

    Returns
    -------
    list of RenderFigure
        Without front end and offline speed.
    """
    positions = cap_of(settings.n_hd).positions_mm
    ld = 15.0 * np.random.default_rng(1).normal(size=(4 * settings.window, settings.n_ld))
    figures = []
    for resolution in resolutions:
        tell(f"{settings.n_hd} electrodes, grid {resolution}")
        model = paper_like(replace(settings, resolution=resolution))
        plan = RenderPlan(model, fold(model, positions), positions)
        n_gaussians = model.field.n_points * model.field.n_gaussians
        title = f"{settings.n_ld}:{settings.n_hd}@{settings.sfreq:g} window"
        with threadpool_limits(1):
            for name in render.engines:
                figures.append(_one(name, plan, ld, title, resolution, n_gaussians, render))
    return figures


def _one(
    name: str,
    plan: RenderPlan,
    ld: FloatArray,
    title: str,
    resolution: int,
    n_gaussians: int,
    render: RenderSettings,
) -> RenderFigure:
    begun = time.perf_counter()
    try:
        renderer = make_renderer(name, plan)
        renderer.push(ld[:1])
    except (EmagError, ImportError) as error:
        why = " ".join(str(error).split())
        return RenderFigure(title, resolution, n_gaussians, name, reason=why)
    start_s = time.perf_counter() - begun
    hops = time_hops(renderer, ld, 1, render.budget_s) * 1e6
    # The equation as written takes its time with a window: that is what compare_direct is for.
    window_us = None
    if name != "direct":
        window = time_hops(renderer, ld, render.window, render.budget_s)
        window_us = round(float(np.median(window)) * 1e6, 3)
    return RenderFigure(
        title,
        resolution,
        n_gaussians,
        renderer.name,
        hop_p50_us=round(float(np.median(hops)), 3),
        hop_p99_us=round(float(np.percentile(hops, 99)), 3),
        window_us=window_us,
        start_s=round(start_s, 3),
    )


def _folded(
    name: str,
    plan: RenderPlan,
    ld: FloatArray,
    truth: FloatArray,
    direct_s: float,
) -> dict[str, dict[str, Any]]:
    try:
        renderer = make_renderer(name, plan)
    except (EmagError, ImportError) as error:
        return {name: {"reason": " ".join(str(error).split())}}
    rendered = renderer.push(ld)[: len(truth)]
    took = []
    for _ in range(_TRIALS):
        renderer.reset()
        begun = time.perf_counter()
        renderer.push(ld)
        took.append(time.perf_counter() - begun)
    window_s = float(np.median(took))
    difference = float(np.abs(rendered - truth).max() / np.abs(truth).max())
    return {
        renderer.name: {
            "window_ms": round(window_s * 1e3, 4),
            "ratio": round(direct_s / window_s, 1),
            "relative_difference": difference,
        }
    }
