"""Engines in one process: time a hop, a window, and offline speed."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from emag_rt.array_types import FloatArray
from emag_rt.bench.cases import Case
from emag_rt.bundle import Bundle
from emag_rt.engine.upsampler import Upsampler
from emag_rt.errors import EmagError
from emag_rt.render import ENGINES, GPU_ENGINES, Renderer, make_renderer
from emag_rt.render.gpu import has_nvidia_device
from emag_rt.synthetic.standin import eeg_like

Tell = Callable[[str], None]
_NO_GPU = "--require-gpu needs"


@dataclass(frozen=True)
class RenderSettings:
    """How engines are timed.

    Attributes
    ----------
    engines : tuple of str
        Which; all of :data:`emag_rt.render.ENGINES` by default.
    window : int
        Samples in a window.
    budget_s : float
        Time for each figure of each engine; at least three trials are made.
    offline_chunk : int
        Samples in a chunk of the offline run.
    most_direct_mb : float
        Kernels that the ``direct`` engine may keep; above, it is left out.
    """

    engines: tuple[str, ...] = ENGINES
    window: int = 100
    budget_s: float = 1.0
    offline_chunk: int = 4096
    most_direct_mb: float = 300.0


@dataclass(frozen=True)
class RenderFigure:
    """One engine on one subject.

    Attributes
    ----------
    case : str
        Channels and rate.
    resolution : int
        Of the grid of Gaussians; 0 for the default.
    n_gaussians : int
        In the mixture.
    engine : str
        As it calls itself once it runs.
    hop_p50_us, hop_p99_us : float or None
        Rendering of one sample, without the front end.
    window_us : float or None
        Rendering of a window at once, median.
    path_hop_p50_us : float or None
        Front end and rendering of one sample.
    offline_x : float or None
        Front end and rendering of long chunks, times real time.
    start_s : float or None
        Making the engine and its first sample.
    reason : str
        Why it does not run here; empty when it does.
    """

    case: str
    resolution: int
    n_gaussians: int
    engine: str
    hop_p50_us: float | None = None
    hop_p99_us: float | None = None
    window_us: float | None = None
    path_hop_p50_us: float | None = None
    offline_x: float | None = None
    start_s: float | None = None
    reason: str = ""


def run_render(
    cases: Sequence[Case],
    settings: RenderSettings,
    *,
    resolutions: Sequence[int] = (),
    tell: Tell = lambda _line: None,
) -> list[RenderFigure]:
    """Time engines on stand-in subjects, with one BLAS thread.

    Parameters
    ----------
    cases : sequence of Case
        Montages and rates.
    settings : RenderSettings
        What to time.
    resolutions : sequence of int
        Grids of Gaussians for each case, in the place of calibration's choice.
    tell : callable
        Called with what goes on.

    Returns
    -------
    list of RenderFigure
        One for each case, grid and engine, those that do not run with their reason.
    """
    figures = []
    for case in cases:
        for resolution in resolutions or (0,):
            tell(f"{case.title}, grid {resolution or 'as calibrated'}")
            bundle = case.standin(resolution or None)
            figures += time_bundle(bundle, str(case.subject), settings, resolution)
    return figures


def time_bundle(
    bundle: Bundle, title: str, settings: RenderSettings, resolution: int = 0
) -> list[RenderFigure]:
    """Time all engines on one bundle.

    Parameters
    ----------
    bundle : Bundle
        The subject.
    title : str
        Names it in the figures.
    settings : RenderSettings
        What to time.
    resolution : int
        To be kept in the figures.

    Returns
    -------
    list of RenderFigure
        On the CPU, and on a GPU where the engine has one.
    """
    field = bundle.model.field
    blank = RenderFigure(title, resolution, field.n_points * field.n_gaussians, "")
    figures: list[RenderFigure] = []
    with threadpool_limits(1):
        for name in settings.engines:
            size = direct_mb(bundle) if name == "direct" else 0.0
            if size > settings.most_direct_mb:
                why = f"its kernels would take {size:.0f} MB (--most-direct-mb)"
                figures.append(_with(blank, engine=name, reason=why))
                continue
            for gpu in (False, True):
                figure = _time_engine(bundle, name, gpu, settings, blank)
                seen = {known.engine for known in figures if not known.reason}
                if figure.engine not in seen and _NO_GPU not in figure.reason:
                    figures.append(figure)
    return figures


def direct_mb(bundle: Bundle) -> float:
    """Memory of the kernels that the ``direct`` engine keeps, about, in MB."""
    model = bundle.model
    if model.anchor == "window":
        return 0.0
    shared = model.field.shared_profiles()
    n_pairs = model.n_lags * model.field.n_gaussians
    if shared is not None:
        mu_s, rate = shared
        n_pairs = int((np.abs((model.tau_s[:, None] - mu_s) * rate) < 7.8).sum())
    return n_pairs * model.field.n_points * len(bundle.manifest.hd) * 8e-6


def _time_engine(
    bundle: Bundle, name: str, gpu: bool, settings: RenderSettings, blank: RenderFigure
) -> RenderFigure:
    begun = time.perf_counter()
    label = f"{name} (GPU)" if gpu else name
    if gpu and name in GPU_ENGINES and not has_nvidia_device():
        return _with(blank, engine=label, reason="no NVIDIA device is here")
    try:
        upsampler = Upsampler(bundle, engine=name, require_gpu=gpu, mismatch="ignore")
        renderer = make_renderer(name, upsampler.plan, gpu)
        renderer.push(np.zeros((1, upsampler.plan.operator.n_ld)))
    except (EmagError, ImportError) as error:
        return _with(blank, engine=label, reason=" ".join(str(error).split()))
    start_s = time.perf_counter() - begun
    sfreq = bundle.manifest.sfreq
    signal = eeg_like(bundle.covariance, sfreq, seconds=max(2.0, 2 * settings.window / sfreq))
    ld = signal.astype(np.float64)
    hops = time_hops(renderer, ld, 1, settings.budget_s)
    windows = time_hops(renderer, ld, settings.window, settings.budget_s)
    path = _repeat(_pusher(upsampler, ld), settings.budget_s)
    return _with(
        blank,
        engine=renderer.name,
        hop_p50_us=_us(hops, 50),
        hop_p99_us=_us(hops, 99),
        window_us=_us(windows, 50),
        path_hop_p50_us=_us(path, 50),
        offline_x=round(offline_speed(upsampler, ld, settings), 2),
        start_s=round(start_s, 3),
    )


def _with(blank: RenderFigure, **values: object) -> RenderFigure:
    return RenderFigure(**{**asdict(blank), **values})


def _us(seconds: FloatArray, quantile: float) -> float:
    return round(float(np.percentile(seconds, quantile)) * 1e6, 3)


def time_hops(renderer: Renderer, ld: FloatArray, hop: int, budget_s: float) -> FloatArray:
    """Seconds of each push of ``hop`` samples; ``ld`` is played round and round."""
    n_parts = max(1, len(ld) // hop)
    parts = [ld[i * hop : (i + 1) * hop] for i in range(n_parts)]
    return _repeat(lambda number: renderer.push(parts[number % n_parts]), budget_s)


def _pusher(upsampler: Upsampler, ld: FloatArray) -> Callable[[int], object]:
    stamps = np.zeros(1)
    return lambda number: upsampler.push(ld[number % len(ld)][None], stamps)


def _repeat(act: Callable[[int], object], budget_s: float) -> FloatArray:
    """Seconds of each call; the first is thrown away."""
    act(0)
    took: list[float] = []
    clock, end = time.perf_counter, time.perf_counter() + budget_s
    while len(took) < 3 or clock() < end:
        start = clock()
        act(len(took))
        took.append(clock() - start)
    return np.array(took)


def offline_speed(upsampler: Upsampler, ld: FloatArray, settings: RenderSettings) -> float:
    """Seconds of signal for each second of work, front end included."""
    upsampler.reset()
    n_repeats = int(np.ceil(settings.offline_chunk / len(ld)))
    chunk = np.tile(ld, (n_repeats, 1))[: settings.offline_chunk]
    if upsampler.engine.startswith("direct"):
        chunk = chunk[: settings.window]
    took = _repeat(lambda _number: upsampler.push(chunk), settings.budget_s)
    return float(len(chunk) / upsampler.sfreq / np.median(took))


def write_csv(figures: Sequence[RenderFigure], path: str) -> None:
    """Write figures as a table with a header."""
    names = [field.name for field in fields(RenderFigure)]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(asdict(figure) for figure in figures)
