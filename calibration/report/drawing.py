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
        A ``figure`` element; the picture is inside.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI)
    data = base64.b64encode(content.getvalue()).decode("ascii")
    below = f"<figcaption>{caption}</figcaption>" if caption else ""
    return (
        f'<figure><img src="data:image/png;base64,{data}" '
        f'alt="{html.escape(alt, quote=True)}">{below}</figure>'
    )
