"""What goes to browsers: samples and matrices as bytes, everything else as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emag_rt.array_types import FloatArray
from emag_rt.core.labels import canonical
from emag_rt.core.scores import BANDS_HZ
from emag_rt.dashboard import maps
from emag_rt.dashboard.board import Layout
from emag_rt.dashboard.outlet import clean
from emag_rt.dashboard.rows import Rows, n_averaged
from emag_rt.dashboard.spectra import Spectra

SAMPLES, HD_MAP, LD_MAP, SPECTRA = 1, 2, 3, 4
"""Kinds of binary messages: the first of four uint32 that each begins with."""


def pack_samples(run: int, hd: Rows, ld: Rows) -> bytes:
    """Samples of one run of the daemon.

    Little-endian: uint32 kind, run, n_hd, n_ld; float64 stamps of HD, of LD; float32 HD values
    (n_hd, channels), LD values (n_ld, channels), in µV.
    """
    head = np.array([SAMPLES, run, len(hd[1]), len(ld[1])], "<u4")
    parts = (
        head,
        hd[1].astype("<f8"),
        ld[1].astype("<f8"),
        hd[0].astype("<f4"),
        ld[0].astype("<f4"),
    )
    return b"".join(part.tobytes() for part in parts)


def pack_map(kind: int, number: int, scalp: maps.ScalpMap, trust: NDArray[np.uint8]) -> bytes:
    """Matrix of a map, and how far each pixel can be believed.

    Little-endian: uint32 kind, layout number, n_pixels, n_used; uint32 pixels, uint32 columns;
    float32 matrix (n_pixels, n_used); uint8 trust (n_pixels).
    """
    head = np.array([kind, number, *scalp.matrix.shape], "<u4")
    parts = (
        head,
        scalp.pixels.astype("<u4"),
        scalp.columns.astype("<u4"),
        scalp.matrix.astype("<f4"),
        trust,
    )
    return b"".join(part.tobytes() for part in parts)


def pack_spectra(run: int, hd: Spectra, ld: Spectra) -> bytes:
    """Spectra of what is served, and of what comes from the amplifier before any filter.

    Little-endian: uint32 kind, run, n_hd, n_ld, n_hd_freqs, n_ld_freqs, n_bands; float32 mains in
    Hz (0: not known), distance of frequencies in Hz, mains of LD (n_ld), bands of HD (n_bands,
    n_hd), of LD, all in µV; uint8 levels of HD (n_hd, n_hd_freqs), of LD. A level is in half dB
    above -40 dB of 1 µV²/Hz; 255 is none.
    """
    hz, mains = ld.mains()
    f = hd.freqs_hz
    bands = hd.band_uv()
    sizes = (len(hd.power), len(ld.power), len(f), len(ld.freqs_hz), len(bands))
    parts = (
        np.array([SPECTRA, run, *sizes], "<u4"),
        np.array([hz, f[1] - f[0]], "<f4"),
        mains.astype("<f4"),
        bands.astype("<f4"),
        ld.band_uv().astype("<f4"),
        _levels(hd.power),
        _levels(ld.power),
    )
    return b"".join(part.tobytes() for part in parts)


def _levels(power: FloatArray) -> NDArray[np.uint8]:
    with np.errstate(divide="ignore", invalid="ignore"):
        level = np.clip(np.round(2.0 * (10.0 * np.log10(power) + 40.0)), 0, 254)
    return np.where(np.isfinite(power), level, 255).astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Drawing:
    """A layout as browsers get it: one text, and a matrix for each map that can be drawn."""

    number: int
    text: str
    blobs: tuple[bytes, ...]


class Drawings:
    """Makes drawings of layouts; the HD map, which takes longest, once for each run."""

    def __init__(self) -> None:
        self._run = -1
        self._hd_map: maps.ScalpMap | None = None

    def make(self, layout: Layout) -> Drawing:
        """Drawing of a layout; takes up to a second."""
        hd = layout.hd
        hd_places = hd.positions_mm if hd else np.empty((0, 3))
        edge = maps.edge_angle(np.vstack([hd_places, layout.ld_positions_mm]))
        if layout.run != self._run:
            self._hd_map = maps.scalp_map(hd_places, edge)
            self._run = layout.run
        good = np.array([label not in layout.bad for label in layout.ld_labels], dtype=bool)
        ld_map = maps.scalp_map(layout.ld_positions_mm, edge, good)
        places = layout.ld_positions_mm
        ld_trust = maps.trust(edge, places[good], np.zeros(good.sum()), places, good)
        hd_trust = maps.trust(edge, hd_places, _errors(layout), places, good)
        text = {
            "type": "layout",
            "number": layout.number,
            "run": layout.run,
            "grid": maps.GRID,
            "margin": maps.MARGIN,
            "bands": [{"name": name, "hz": list(hz)} for name, hz in BANDS_HZ.items()],
            "equator": float(np.pi / 2 / edge),
            "name": hd.name if hd else "",
            "sfreq": hd.sfreq if hd else 0.0,
            "shown_hz": hd.sfreq / n_averaged(hd.sfreq) if hd else 0.0,
            "hd": {
                "labels": list(hd.labels) if hd else [],
                "places": _places(hd_places, edge),
                "kinds": list(hd.kinds) if hd else [],
                "nmse": list(hd.nmse) if hd else [],
                "map": self._hd_map is not None,
            },
            "ld": {
                "labels": [clean(label) for label in layout.ld_labels],
                "places": _places(layout.ld_positions_mm, edge),
                "bad": (~good).tolist(),
                "map": ld_map is not None,
                "same": _same(layout),
            },
        }
        found = ((HD_MAP, self._hd_map, hd_trust), (LD_MAP, ld_map, ld_trust))
        blobs = tuple(pack_map(k, layout.number, m, t) for k, m, t in found if m is not None)
        return Drawing(layout.number, json.dumps(text), blobs)


def _errors(layout: Layout) -> FloatArray:
    """Expected error of each HD channel; none where it is measured by a good electrode."""
    hd = layout.hd
    if hd is None:
        return np.empty(0)
    told = [np.nan if value is None else value for value in hd.nmse]
    errors = np.where(np.array(hd.kinds) == "measured", 0.0, np.array(told, dtype=np.float64))
    for label, k in zip(layout.ld_labels, _same(layout), strict=True):
        if k >= 0 and label in layout.bad:
            errors[k] = np.nan
    return errors if np.isfinite(told).any() else np.full(len(told), np.nan)


def _same(layout: Layout) -> list[int]:
    """For each LD channel the HD channel of its name, -1 for none."""
    labels = layout.hd.labels if layout.hd else ()
    index = {canonical(label): i for i, label in enumerate(labels)}
    return [index.get(canonical(label), -1) for label in layout.ld_labels]


def _places(positions_mm: FloatArray, edge: float) -> list[Any]:
    flat = maps.project(positions_mm, edge)
    return [None if np.isnan(row).any() else row.round(4).tolist() for row in flat]
