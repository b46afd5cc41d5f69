"""Pictures of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emag_rt.array_types import FloatArray
from emag_rt.bench.rendering import RenderFigure
from emag_rt.errors import SettingsError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = {"relay": "0.5", "daemon": "C0"}
_MOST = 4000


def _figure(n_panels: int, width: float = 4.2, sharey: bool = False) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_columns = min(3, max(1, n_panels))
    n_rows = -(-max(1, n_panels) // n_columns)
    figure = Figure(figsize=(width * n_columns, 3.4 * n_rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=sharey).ravel()
    for spare in axes[n_panels:]:
        spare.set_visible(False)
    return figure, axes


def _log_ticks(ax: Axes) -> None:
    """1, 2, 5 and so on, as people write them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(10.0, (1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _save(figure: Figure, path: str) -> None:
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"--plot {Path(path).name}: must be a picture that can be written (.png, .pdf, .svg), "
            f"got {error}. Choose another name."
        ) from error


def plot_latency(
    reports: Sequence[dict[str, Any]],
    latencies_ms: Sequence[dict[str, FloatArray]],
    path: str,
) -> None:
    """Draw how many samples came later than a latency, daemon and relay, a panel a case.

    Parameters
    ----------
    reports : sequence of dict
        For the titles.
    latencies_ms : sequence of dict
        ``relay`` and ``daemon`` to values in ms.
    path : str
        Picture to write.

    Raises
    ------
    SettingsError
        If it cannot be written.
    """
    figure, axes = _figure(len(reports), sharey=True)
    for ax, report, values in zip(axes, reports, latencies_ms, strict=False):
        for kind, found in values.items():
            found = np.sort(found[found > 0])
            if not len(found):
                continue
            beyond = 1.0 - np.arange(len(found)) / len(found)
            # As many points as can be seen: all of the tail, a share of the rest.
            kept = np.unique(np.round(len(found) - np.geomspace(1, len(found), _MOST)).astype(int))
            ax.plot(found[kept], beyond[kept], color=_COLOURS[kind], label=kind)
        _log_ticks(ax)
        ax.set(yscale="log", title=report["title"])
        ax.set(xlabel="receipt minus stamp (ms)", ylabel="share of samples that came later")
        ax.grid(which="both", alpha=0.2)
        ax.legend()
    _save(figure, path)


def plot_render(figures: Sequence[RenderFigure], path: str) -> None:
    """Draw time a sample over the number of Gaussians, a panel a case; raises as above."""
    cases = list(dict.fromkeys(one.case for one in figures))
    figure, axes = _figure(len(cases), sharey=True)
    # One colour an engine, in every panel.
    engines = list(dict.fromkeys(one.engine for one in figures if one.hop_p50_us is not None))
    for ax, case in zip(axes, cases, strict=False):
        mine = [one for one in figures if one.case == case and one.hop_p50_us is not None]
        for engine in dict.fromkeys(one.engine for one in mine):
            line = [(one.n_gaussians, one.hop_p50_us) for one in mine if one.engine == engine]
            x, y = zip(*line, strict=True)
            ax.plot(x, y, "o-", label=engine, color=f"C{engines.index(engine)}")
        ax.set(xscale="log", yscale="log", title=case, xlabel="Gaussians", ylabel="µs a sample")
        ax.grid(which="both", alpha=0.2)
        if mine:
            ax.legend()
    _save(figure, path)


def plot_soak(report: dict[str, Any], path: str) -> None:
    """Draw latency and memory over the hours; raises as above."""
    figure, axes = _figure(2, 6.0)
    hours = [point["hours"] for point in report["points"]]
    for key in ("latency_p50_ms", "latency_p99_ms"):
        values = [point[key] for point in report["points"]]
        axes[0].plot(hours, [np.nan if v is None else v for v in values], label=key[8:11])
    axes[1].plot(hours, [point["rss_mb"] for point in report["points"]])
    axes[0].set(xlabel="hours", ylabel="receipt minus stamp (ms)", title=report["title"])
    axes[0].legend()
    axes[1].set(xlabel="hours", ylabel="RSS (MB)")
    _save(figure, path)
