"""What all figures share: their size, colours, and how they get into the page."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


def embed(figure: Figure, alt: str, caption: str = "") -> str:
    """HTML that holds a figure.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to show.
    alt : str
        What it shows, for those who do not see it.
    caption : str
        HTML below it.

    Returns
    -------
    str
        A ``figure`` element; the picture is inside: strokes, which are sharp at any size and
        turned dark with the page (class ``lines``), or pixels where it holds images.
    """
    content, kind, lines = _strokes(figure), "svg+xml", ' class="lines"'
    if not content:
        pixels = io.BytesIO()
        figure.savefig(pixels, format="png", dpi=_DPI)
        content, kind, lines = pixels.getvalue(), "png", ""
    data = base64.b64encode(content).decode("ascii")
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure><img{lines} src="data:image/{kind};base64,{data}" '
        f'alt="{html.escape(alt, quote=True)}">{below}</figure>'
    )


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
