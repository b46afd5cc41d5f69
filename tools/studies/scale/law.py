"""How one daemon's work grows with its case."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from emag_rt.bench.cases import Case
from emag_rt.bench.rendering import time_hops
from emag_rt.engine.upsampler import Upsampler
from emag_rt.render import make_renderer
from emag_rt.synthetic.standin import eeg_like

Tell = Callable[[str], None]
AXES: dict[str, tuple[float, ...]] = {
    "n_ld": (8, 16, 32, 64),
    "n_hd": (64, 128, 256),
    "sfreq": (125, 250, 500, 1000, 2000),
    "look_ahead": (0, 10, 25, 50),
    "residual": (0, 1),
}
"""What grows one at a time from the base case; lags grow with the rate (0.9 s of them)."""
BASE = Case(16, 128, 250.0)
_KINDS: dict[str, Callable[[float], Any]] = {"sfreq": float, "residual": bool}


@dataclass(frozen=True)
class LawPoint:
    """Cost of one case in one process.

    Attributes
    ----------
    axis : str
        What grew.
    value : float
        To what.
    case : str
        The case.
    engine : str
        That rendered.
    n_lags, n_taps, n_context : int
        Lags of the linear part, its taps after folding, samples of context.
    hop_us : float
        Front end and rendering of one sample, median.
    front_end_us : float
        The front end's part, as the difference to rendering alone.
    core_percent : float
        Of one core at the case's rate, LSL not counted.
    """

    axis: str
    value: float
    case: str
    engine: str
    n_lags: int
    n_taps: int
    n_context: int
    hop_us: float
    front_end_us: float
    core_percent: float


def run_law(
    engine: str = "auto",
    base: Case = BASE,
    axes: Mapping[str, tuple[float, ...]] | None = None,
    budget_s: float = 0.5,
    tell: Tell = lambda _line: None,
) -> list[LawPoint]:
    """Time one sample in this process, one thread, while one property grows at a time.

    Parameters
    ----------
    engine : str
        Render engine.
    base : Case
        Where all axes start from.
    axes : mapping, optional
        Property of the case to values; :data:`AXES` by default.
    budget_s : float
        Time for each point.
    tell : callable
        Called with what goes on.

    Returns
    -------
    list of LawPoint
        One for each axis and value.
    """
    points = []
    for axis, values in (axes or AXES).items():
        for value in values:
            changed: Any = {axis: _KINDS.get(axis, int)(value)}
            case = replace(base, **changed)
            tell(f"{axis} = {value:g}")
            points.append(_law_point(axis, value, case, engine, budget_s))
    return points


def _law_point(axis: str, value: float, case: Case, engine: str, budget_s: float) -> LawPoint:
    bundle = case.standin()
    ld = eeg_like(bundle.covariance, case.sfreq, seconds=4.0).astype(np.float64)
    with threadpool_limits(1):
        upsampler = Upsampler(bundle, engine=engine, mismatch="ignore")
        stamps = np.zeros(1)
        took: list[float] = []
        end = time.perf_counter() + budget_s
        while len(took) < 20 or time.perf_counter() < end:
            row = ld[len(took) % len(ld)][None]
            begun = time.perf_counter()
            upsampler.push(row, stamps)
            took.append(time.perf_counter() - begun)
        render = time_hops(make_renderer(engine, upsampler.plan), ld, 1, budget_s)
    hop, alone = float(np.median(took)), float(np.median(render))
    taps = bundle.operator.taps
    return LawPoint(
        axis,
        value,
        str(case),
        upsampler.engine,
        taps.shape[1],
        taps.shape[0],
        bundle.operator.n_context,
        round(hop * 1e6, 2),
        round(max(0.0, hop - alone) * 1e6, 2),
        round(100 * hop * case.sfreq, 2),
    )


def fit_law(points: Sequence[LawPoint]) -> dict[str, dict[str, float]]:
    """For each axis of numbers a line ``hop_us = start + slope * value``, by least squares.

    Parameters
    ----------
    points : sequence of LawPoint
        From :func:`run_law`.

    Returns
    -------
    dict
        Axis to ``start_us``, ``slope_us`` (for one more) and ``misfit`` (largest relative
        difference between line and points).
    """
    found = {}
    for axis in dict.fromkeys(point.axis for point in points):
        mine = [point for point in points if point.axis == axis]
        if len(mine) < 2:
            continue
        x = np.array([point.value for point in mine], dtype=np.float64)
        y = np.array([point.hop_us for point in mine])
        slope, start = np.polyfit(x, y, 1)
        misfit = float(np.max(np.abs(start + slope * x - y) / y))
        found[axis] = {
            "start_us": round(float(start), 3),
            "slope_us": round(float(slope), 6),
            "misfit": round(misfit, 4),
        }
    return found
