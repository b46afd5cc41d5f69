"""The page as one file that asks for nothing else."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from calibration.report.elements import escape
from calibration.report.viewer import filled, package_text
from emag_rt.bundle import Manifest
from emag_rt.files import write_text

Section = tuple[str, str]
"""Heading and HTML."""


def save_page(
    manifest: Manifest,
    made: datetime.datetime,
    about: str,
    sections: Sequence[Section],
    curious: Sequence[Section],
    path: str | Path,
) -> None:
    """Write the page: one file that asks for nothing else.

    Parameters
    ----------
    manifest : Manifest
        Of the bundle; its name, electrodes and date tell two reports apart.
    made : datetime
        When the report was made.
    about : str
        What the scores are of, in a few words.
    sections : sequence of Section
        What everybody should see.
    curious : sequence of Section
        What is folded up at the end.
    path : path-like
        HTML file to write.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    subject = manifest.name or "a subject"
    heading = f"{subject}: {len(manifest.ld)} electrodes worn, {len(manifest.hd)} channels out"
    folded = "".join(
        f"<details><summary>{escape(name)}</summary>{html}</details>" for name, html in curious
    )
    shown = [*sections, ("For the curious", folded)]
    ids = [name.lower().replace(" ", "-") for name, _ in shown]
    page = filled(
        "page.html",
        TITLE=escape(f"{heading}, {made:%Y-%m-%d}"),
        HEADING=escape(heading),
        SUBTITLE=escape(
            f"Calibrated {manifest.created[:10]}. {about} Report of {made:%Y-%m-%d %H:%M} UTC."
        ),
        ICON=base64.b64encode(_icon()).decode("ascii"),
        STYLE=package_text("report.css"),
        SCRIPT=package_text("page.js"),
        CONTENTS=" ".join(
            f'<a href="#{key}">{escape(name)}</a>'
            for key, (name, _) in zip(ids, shown, strict=True)
        ),
        BODY="".join(
            f'<section id="{key}"><h2>{escape(name)}</h2>{html}</section>'
            for key, (name, html) in zip(ids, shown, strict=True)
        ),
    )
    write_text(path, page, "--report")


def _icon() -> bytes:
    return files("emag_rt").joinpath("dashboard/static/icon.svg").read_bytes()
