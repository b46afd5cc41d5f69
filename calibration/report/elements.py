"""Pieces of HTML: text escaped, tables, lists."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from emag_rt.errors import visible


def escape(text: object) -> str:
    """Text as HTML: labels and file names may hold anything."""
    return html.escape(visible(str(text), "\n"), quote=True)


def paragraph(text: str) -> str:
    """A line of plain text."""
    return f"<p>{escape(text)}</p>"


def bullets(lines: Sequence[str]) -> str:
    """A list of plain lines."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def hashed(digest: object) -> str:
    """A hash, or a commit."""
    return f'<span class="hash">{escape(digest)}</span>'


def number(value: float, how: str) -> str:
    """A number, or a dash where there is none."""
    return format(value, how) if np.isfinite(value) else "–"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    n_odd: int = 0,
    meanings: Sequence[str] | None = None,
) -> str:
    """A table of plain cells.

    Parameters
    ----------
    head : sequence of str
        Headings; those with # are of numbers.
    rows : sequence of sequence of str
        Cells.
    n_odd : int
        So many of the first rows stand out.
    meanings : sequence of str, optional
        What each column means, told when the mouse rests on it; a click on it then sorts.

    Returns
    -------
    str
        HTML, in a box that scrolls by itself.
    """
    numeric = [name.startswith("#") for name in head]
    css = [' class="number"' if is_number else "" for is_number in numeric]
    names = [escape(name.removeprefix("#")) for name in head]
    if meanings is not None:
        names = [
            f'<button type="button" title="{escape(meaning)}">{name}</button>'
            for name, meaning in zip(names, meanings, strict=True)
        ]
    top = "".join(f"<th{c}>{name}</th>" for c, name in zip(css, names, strict=True))
    body = []
    for i, row in enumerate(rows):
        cells = "".join(f"<td{c}>{escape(cell)}</td>" for c, cell in zip(css, row, strict=True))
        odd = ' class="odd"' if i < n_odd else ""
        body.append(f"<tr{odd}>{cells}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def facts_table(rows: Sequence[Sequence[str]]) -> str:
    """A table of names and values that are HTML already."""
    body = "".join(f"<tr><th>{escape(name)}</th><td>{value}</td></tr>" for name, value in rows)
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>'
