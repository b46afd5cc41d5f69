"""Tables of the report, as Markdown, from the rows of the experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rows = Sequence[dict[str, Any]]

METHODS = {
    "field": "field, closed form",
    "plain": "the same without beliefs",
    "lagged_ridge": "lagged ridge",
    "ridge": "ridge",
    "minimum_norm": "minimum norm",
    "spline": "spherical spline",
}

REFINED = {
    "lagged_ridge": "lagged ridge",
    "plain": "closed form without beliefs",
    "field": "closed form",
    "refined": "refined",
}


def all_tables(rows: dict[str, Rows]) -> dict[str, str]:
    """Every table for which there are rows, by name."""
    makers: dict[str, Callable[[Rows], str]] = {
        "floor": floor_table,
        "refined": refined_table,
        "localisation": localisation_table,
        "space": space_table,
        "time": time_table,
        "trained": trained_table,
    }
    return {name: make(rows[name]) for name, make in makers.items() if rows.get(name)}


def markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def spread(values: Sequence[float | None], digits: int = 3) -> str:
    """Mean, and the range where there are several."""
    known = [v for v in values if v is not None and np.isfinite(v)]
    if not known:
        return "–"
    mean = f"{np.mean(known):.{digits}f}"
    if len(known) == 1:
        return mean
    return f"{mean} ({min(known):.{digits}f}–{max(known):.{digits}f})"


def unique(rows: Rows, key: str) -> list[Any]:
    """Values of a column, in order of appearance."""
    return list(dict.fromkeys(row[key] for row in rows))


def floor_table(rows: Rows) -> str:
    """NMSE over the floor, a line for each condition, LD and method."""
    lengths = unique(rows, "seconds")
    body = []
    for condition in unique(rows, "condition"):
        for n_ld in unique(rows, "n_ld"):
            part = [r for r in rows if r["condition"] == condition and r["n_ld"] == n_ld]
            floors = [r["floor"] for r in part if r["method"] == "field"]
            clean = [r["floor_clean"] for r in part if r["method"] == "field"]
            where = [condition, str(n_ld)]
            start = f"*the floor itself, NMSE {spread(floors)}; clean {spread(clean)}*"
            body.append([*where, start, *[""] * (len(lengths) + 1)])
            for method, title in METHODS.items():
                cells = []
                for key in ("", "_clean"):
                    for seconds in lengths if not key else lengths[-1:]:
                        ratios = [
                            r["nmse" + key] / r["floor" + key]
                            for r in part
                            if r["method"] == method and r["seconds"] == seconds
                        ]
                        cells.append(spread(ratios))
                body.append(["", "", title, *cells])
    ends = [f"{s:g} s" for s in lengths] + [f"clean truth, {lengths[-1]:g} s"]
    return markdown(["condition", "LD", "method", *ends], body)


def refined_table(rows: Rows) -> str:
    """The refined field over the sampled floor."""
    methods = {k: t for k, t in REFINED.items() if any(k in r for r in rows)}
    body = [
        [
            r["condition"],
            str(r["seed"]),
            f"{r['seconds']:g} s",
            f"{r['floor_sample']:.4f} ({r['floor_exact']:.4f})",
            *(spread([r[k] / r["floor_sample"]]) if k in r else "–" for k in methods),
            f"{r['refined_clean'] / r['floor_sample_clean']:.3f}",
            "kept" if r["residual_kept"] else "not kept",
            str(r["precision_steps"]),
        ]
        for r in rows
    ]
    header = ["condition", "subject", "calibration", "linear floor on the test signal (exact)"]
    header += [*methods.values(), "refined, clean truth", "residual", "precision steps"]
    return markdown(header, body)


def localisation_table(rows: Rows) -> str:
    """Median and quartiles of the miss in mm."""
    body = []
    for snr in unique(rows, "snr"):
        for name in unique(rows, "map"):
            part = [r for r in rows if r["snr"] == snr and r["map"] == name]
            cells = [_quartiles([r["distance"] for r in part])]
            for depth in unique(rows, "depth"):
                cells.append(_quartiles([r["distance"] for r in part if r["depth"] == depth]))
            for kind in ("radial", "tangential"):
                of_kind = [r["lateral"] for r in part if r["orientation"] == kind]
                cells.append(_quartiles(of_kind))
            body.append([f"{snr:g}", name, *cells])
    depths = [f"at {d:g} of the radius" for d in unique(rows, "depth")]
    header = ["SNR", "map", "all", *depths, "lateral, radial dipoles", "lateral, tangential"]
    return markdown(header, body)


def _quartiles(values: Sequence[float]) -> str:
    if not values:
        return "–"
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.0f} ({low:.0f}–{high:.0f})"


def space_table(rows: Rows) -> str:
    """Over the floor at known and at left-out electrodes."""
    body = []
    # Point counts follow the montage and may differ by seed: names are told apart as they are.
    for group, name in dict.fromkeys((r["group"], r["name"]) for r in rows):
        part = [r for r in rows if r["name"] == name and r["group"] == group]
        cells = [spread([r[k] for r in part]) for k in ("known", "virtual")]
        body.append([group, name, spread([r["width_mm"] for r in part], 0), *cells])
    header = ["what changes", "basis", "width, mm", "(a) known, unseen", "(b) left out"]
    return markdown(header, body)


def time_table(rows: Rows) -> str:
    """Over the floor, by bank and length."""
    lengths = unique(rows, "seconds")
    body = []
    for name in unique(rows, "name"):
        cells = [
            spread([r["over_floor"] for r in rows if r["name"] == name and r["seconds"] == s])
            for s in lengths
        ]
        body.append([name, *cells])
    return markdown(["temporal profiles", *[f"{s:g} s" for s in lengths]], body)


def trained_table(rows: Rows) -> str:
    """Over the floor, by variant of the paper's model."""
    body = [
        [r["name"], str(r["epochs"]), spread([r["known"]], 2), spread([r["virtual"]], 2)]
        for r in rows
    ]
    return markdown(["trained by gradient", "epochs", "(a) known, unseen", "(b) left out"], body)
