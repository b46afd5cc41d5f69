"""What all figures share: their size, colours, and how they get into the page."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from emag_rt.array_types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Spots = tuple[Axes, FloatArray, Sequence[str]]

COLOURS = {
    "truth": "0.55",
    "field": "#c1272d",
    "lagged_ridge": "#0072b2",
    "ridge": "#009e73",
    "spherical_spline": "#e69f00",
    "matched": "#c1272d",
    "simulated": "#c1272d",
}
NAMES = {
    "truth": "truth (measured)",
    "field": "field (rendered)",
    "lagged_ridge": "lagged ridge",
    "ridge": "ridge",
    "spherical_spline": "spherical spline",
    "matched": "field, matched",
    "simulated": "field, simulated",
}
LD_COLOUR = "#1f4e79"
BAD_COLOUR = "0.45"
WIDTH_IN = 11.0
_DPI = 100
_MOST_SVG = 300_000
"""Bytes: a drawing of more strokes than that is smaller, and quicker to show, as pixels."""


def new_figure(height_in: float) -> Figure:
    """A figure of its own: pyplot's are shared by the process, and pop up on screens."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def embed(figure: Figure, alt: str, caption: str = "", spots: Sequence[Spots] = ()) -> str:
    """HTML that holds a figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to show.
    alt : str
        What it shows, for those who do not see it.
    caption : str
        HTML below it.
    spots : sequence of tuple
        Axes, points on them, shape (n, 2), and what to say where the pointer is near each.

    Returns
    -------
    str
        A ``figure`` element; the picture is inside: strokes, which are sharp at any size, or
        pixels where it holds images. The page shows through it, and the style turns it dark.
    """
    content, kind = _strokes(figure), "svg+xml"
    if not content:
        pixels = io.BytesIO()
        figure.savefig(pixels, format="png", dpi=_DPI, transparent=True)
        content, kind = pixels.getvalue(), "png"
    data = base64.b64encode(content).decode("ascii")
    picture = f'<img src="data:image/{kind};base64,{data}" alt="{html.escape(alt, quote=True)}">'
    if spots:
        told = html.escape(json.dumps(_on_picture(figure, spots), ensure_ascii=False), quote=True)
        picture = (
            f'<div class="spots" data-spots="{told}">{picture}<i hidden></i></div>'
            '<p class="soft" role="status">Point at an electrode, or touch it, for its name.</p>'
        )
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f"<figure>{picture}{below}</figure>"


def _on_picture(figure: Figure, spots: Sequence[Spots]) -> list[tuple[float, float, str]]:
    """Where points are on a picture that was drawn, as parts of its width and of its height."""
    found = []
    for axes, points, texts in spots:
        shown = figure.transFigure.inverted().transform(axes.transData.transform(points))
        found += [
            (round(float(x), 4), round(1 - float(y), 4), text)
            for (x, y), text in zip(shown, texts, strict=True)
        ]
    return found


def _strokes(figure: Figure) -> bytes:
    """A figure as SVG; nothing where colours are values, or strokes are more than is worth it."""
    from matplotlib import rc_context

    drawn = [part for axes in figure.axes for part in (*axes.images, *axes.collections)]
    if any(part.get_array() is not None for part in drawn):
        return b""
    content = io.BytesIO()
    # Words stay words, which can be searched; nothing in the file changes from run to run.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "emag_rt"}):
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
    return content.getvalue() if content.tell() <= _MOST_SVG else b""
