"""Results as Markdown tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tools.studies.paper_benchmark.methods import METHODS
from tools.studies.paper_benchmark.results import DONE, read_result

YARDSTICK = "lagged_ridge"
_ABOUT = {
    "paper": (
        "Windows split at random 80/20, worn channels drawn at random, z-scored window by window: "
        "comparable with published numbers, and as flattering as they are."
    ),
    "ours": (
        "Later runs (or the end of the only one) held out, worn channels evenly spread, µV "
        "relative to their mean after the causal front end: what to expect live."
    ),
}


def read_results(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Results that are done, of those planned."""
    found = [read_result(path) for path in paths]
    return [result for result in found if result is not None and result["status"] == DONE]


def markdown(results: list[dict[str, Any]]) -> str:
    """Tables of results, one a protocol and factor.

    Parameters
    ----------
    results : list of dict
        As read by :func:`read_results`.

    Returns
    -------
    str
        For each method the number of subjects, NMSE, PCC and SNR on unseen channels and NMSE on
        all (mean ± standard deviation over subjects), the median and the worst over subjects of its
        NMSE over lagged ridge's, and the worst subject. Methods are only as comparable as their
        subjects: a lower number of them is to be read as failures.
    """
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        groups[result["dataset"], result["protocol"], result["factor"]].append(result)
    parts = []
    for (dataset, protocol, factor), group in sorted(groups.items()):
        counts = sorted({(result["n_ld"], result["n_channels"]) for result in group})
        shown = ", ".join(f"{n_ld} of {n_all}" for n_ld, n_all in counts)
        parts.append(f"### {dataset}, {protocol} protocol, {factor}x ({shown} channels worn)\n")
        parts.append(_ABOUT[protocol] + "\n")
        parts.append(_table(group))
    return "\n".join(parts) if parts else "No results yet.\n"


def _table(group: list[dict[str, Any]]) -> str:
    lines = [
        "| method | subjects | NMSE unseen | PCC unseen | SNR unseen (dB) | NMSE all "
        "| ratio to lagged ridge: median (worst) | worst NMSE unseen | fit (s) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    by_method: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for result in group:
        by_method[result["method"]][result["subject"]] = result
    yard = {name: _nmse(result) for name, result in by_method[YARDSTICK].items()}
    for method in METHODS:
        if by_method[method]:
            lines.append(_line(method, by_method[method], yard))
    return "\n".join(lines) + "\n"


def _line(method: str, results: dict[str, dict[str, Any]], yard: dict[str, float]) -> str:
    errors = {subject: _nmse(result) for subject, result in results.items()}
    ratios = [errors[name] / yard[name] for name in errors if yard.get(name)]
    worst = max(errors, key=lambda name: errors[name])
    cells = [
        method.replace("_", " "),
        str(len(results)),
        _spread(_values(results, "unseen", "nmse"), 3),
        _spread(_values(results, "unseen", "pcc"), 3),
        _spread(_values(results, "unseen", "snr_db"), 2),
        _spread(_values(results, "all", "nmse"), 3),
        f"{np.median(ratios):.3f} ({max(ratios):.3f})" if ratios else "–",
        f"{errors[worst]:.3f} ({worst})",
        f"{np.median([result['fit_s'] for result in results.values()]):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _nmse(result: dict[str, Any]) -> float:
    value = result["scores"]["unseen"]["nmse"]
    return float("nan") if value is None else float(value)


def _values(results: dict[str, dict[str, Any]], channels: str, metric: str) -> list[float]:
    found = [result["scores"][channels][metric] for result in results.values()]
    return [float(value) for value in found if value is not None]


def _spread(values: list[float], digits: int) -> str:
    """Mean ± standard deviation over subjects; the latter from two subjects on."""
    if not values:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"
