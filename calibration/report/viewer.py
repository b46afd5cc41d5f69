"""The interactive view of the Gaussians: numbers and script in one piece of HTML."""

from __future__ import annotations

import base64
import json
import re
from importlib.resources import files

import numpy as np

from calibration.report.gaussians import Clip, spatial_axes, spatial_widths_mm, strongest
from emag_rt.array_types import FloatArray
from emag_rt.bundle import Bundle

MAX_POINTS = 200


def package_text(name: str) -> str:
    """A text file that ships beside this module."""
    return files("calibration.report").joinpath(name).read_text(encoding="utf-8")


def filled(name: str, **pieces: str) -> str:
    """A file that ships beside this module, with pieces at their ``@PLACES@``."""
    # All at once: what is put in may look like a place to put something in.
    return re.sub("@([A-Z]+)@", lambda found: pieces[found[1]], package_text(name))


def as_json(content: dict[str, object]) -> str:
    """JSON that can stand in a script: "<" cannot end it, whatever a channel is called."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def viewer_html(bundle: Bundle, clip: Clip) -> str:
    """HTML with everything inside: no file and no network is needed.

    Parameters
    ----------
    bundle : Bundle
        The field.
    clip : Clip
        What it does in two seconds.

    Returns
    -------
    str
        The viewer, with its controls.
    """
    return filled(
        "viewer.html", DATA=as_json(_payload(bundle, clip)), SCRIPT=package_text("viewer.js")
    )


def _payload(bundle: Bundle, clip: Clip) -> dict[str, object]:
    field, manifest = bundle.model.field, bundle.manifest
    rows, share = strongest(bundle, clip, MAX_POINTS)
    montage = manifest.hd_montage
    worn = {e.label for e in manifest.ld}
    amplitudes = clip.amplitudes_uv[:, rows]
    top, loud = limit_of(amplitudes), limit_of(clip.potentials_uv)
    return {
        "centers_mm": field.centers_mm[rows].round(2).tolist(),
        "covariances_mm2": spatial_axes(field, rows).round(3).tolist(),
        "widths_mm": spatial_widths_mm(field)[rows].round(2).tolist(),
        "n_points": field.n_points,
        "share": round(share, 4),
        "labels": list(montage.labels),
        "electrodes_mm": montage.positions_mm.round(2).tolist(),
        "worn": [label in worn for label in montage.labels],
        "radius_mm": round(float(np.linalg.norm(montage.positions_mm, axis=1).mean()), 2),
        "times_ms": clip.times_ms.round(2).tolist(),
        "amplitude_uv": top,
        "amplitudes": packed(amplitudes, top),
        "potential_uv": loud,
        "potentials": packed(clip.potentials_uv, loud),
    }


def limit_of(values: FloatArray) -> float:
    """Full colour: what all but the loudest few stay within, such as a blink's."""
    return max(float(np.percentile(np.abs(values), 98)), 1e-9)


def packed(values: FloatArray, limit: float) -> str:
    """Numbers as 16-bit integers in base64, ``limit`` being 32767."""
    scaled = np.clip(np.round(values / limit * 32767), -32767, 32767).astype("<i2")
    return base64.b64encode(np.ascontiguousarray(scaled).tobytes()).decode("ascii")
