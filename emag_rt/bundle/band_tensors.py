"""A bundle's arrays by frequency: cross-spectra, and how channels go together in bands."""

from __future__ import annotations

import numpy as np

from emag_rt.array_types import Float32Array, FloatArray
from emag_rt.bundle.manifest import Manifest
from emag_rt.bundle.tensors import Tensors, take
from emag_rt.core.cross_spectra import N_BINS, CrossSpectra, n_pairs
from emag_rt.core.ld_bands import MIN_WIDTH_HZ, HdBands, LdBands
from emag_rt.errors import BundleError

SPECTRA = "cross_spectra."
"""What the names of arrays begin with that are float32 in the file."""
MAX_BANDS = 64


def cross_spectra_tensors(spectra: CrossSpectra) -> dict[str, Float32Array]:
    """Arrays of the cross-spectra: float32, for they are the largest of a bundle."""
    return {
        f"{SPECTRA}width_hz": np.array([spectra.width_hz], dtype=np.float32),
        f"{SPECTRA}measured": np.ascontiguousarray(spectra.measured, dtype=np.float32),
        f"{SPECTRA}rendered": np.ascontiguousarray(spectra.rendered, dtype=np.float32),
    }


def read_cross_spectra(tensors: Tensors, manifest: Manifest) -> CrossSpectra | None:
    """The cross-spectra, where the bundle has them."""
    if not any(name.startswith(SPECTRA) for name in tensors):
        return None
    shape = N_BINS, n_pairs(sum(not electrode.bad for electrode in manifest.hd))
    width_hz = float(take(tensors, f"{SPECTRA}width_hz", 1)[0])
    if not 0 < width_hz <= manifest.sfreq:
        raise BundleError(
            f"field.safetensors: '{SPECTRA}width_hz' must be above 0 and at most the rate, got "
            f"{width_hz:.3g}. Calibrate again."
        )
    return CrossSpectra(
        width_hz,
        take(tensors, f"{SPECTRA}measured", *shape).astype(np.float32),
        take(tensors, f"{SPECTRA}rendered", *shape).astype(np.float32),
    )


def ld_bands_tensors(bands: LdBands) -> Tensors:
    """Arrays of how LD channels go together."""
    return {
        "ld_bands.edges_hz": bands.edges_hz,
        "ld_bands.covariances": bands.covariances,
        "ld_bands.n_blocks": np.array([float(bands.n_blocks)]),
    }


def read_ld_bands(tensors: Tensors, manifest: Manifest) -> LdBands | None:
    """How LD channels go together, where the bundle has it."""
    if not any(name.startswith("ld_bands.") for name in tensors):
        return None
    n_ld = len(manifest.ld)
    covariances = take(tensors, "ld_bands.covariances", None, n_ld, n_ld)
    edges_hz = take(tensors, "ld_bands.edges_hz", len(covariances) + 1)
    n_blocks = float(take(tensors, "ld_bands.n_blocks", 1)[0])
    if not n_blocks >= 1:
        raise BundleError(
            f"field.safetensors: 'ld_bands' must be of at least one block, got {n_blocks:g}."
        )
    _check_edges("ld_bands", edges_hz, manifest)
    power = np.trace(covariances, axis1=1, axis2=2)
    if not (np.allclose(power, 1.0) and _are_covariances(covariances)):
        raise BundleError(
            "field.safetensors: 'ld_bands.covariances' must be covariances with a trace of 1: "
            "symmetric, without negative eigenvalues. They are not: damaged."
        )
    return LdBands(edges_hz, covariances, int(n_blocks))


def hd_bands_tensors(bands: HdBands) -> Tensors:
    """Arrays of how all channels go together."""
    return {"hd_bands.edges_hz": bands.edges_hz, "hd_bands.covariances": bands.covariances}


def read_hd_bands(tensors: Tensors, manifest: Manifest) -> HdBands | None:
    """How all channels go together, where the bundle has it."""
    if not any(name.startswith("hd_bands.") for name in tensors):
        return None
    n_hd = len(manifest.hd)
    covariances = take(tensors, "hd_bands.covariances", None, None, n_hd, n_hd)
    edges_hz = take(tensors, "hd_bands.edges_hz", covariances.shape[1] + 1)
    _check_edges("hd_bands", edges_hz, manifest)
    if len(covariances) > MAX_BANDS or not _are_covariances(covariances):
        raise BundleError(
            f"field.safetensors: 'hd_bands.covariances' must be covariances of {MAX_BANDS} parts "
            "at most: symmetric, without negative eigenvalues. They are not: damaged."
        )
    return HdBands(edges_hz, covariances)


def _check_edges(name: str, edges_hz: FloatArray, manifest: Manifest) -> None:
    rises = np.diff(edges_hz).min() >= MIN_WIDTH_HZ
    if not (len(edges_hz) <= MAX_BANDS and edges_hz[0] >= 0 and rises):
        raise BundleError(
            f"field.safetensors: '{name}.edges_hz' must be from 0 Hz on and rise by "
            f"{MIN_WIDTH_HZ:g} Hz or more, {MAX_BANDS} at most, got {edges_hz[:8].tolist()}."
        )
    if not edges_hz[-1] < manifest.sfreq / 2:
        raise BundleError(
            f"field.safetensors: '{name}.edges_hz' must be below half of {manifest.sfreq:g} Hz, "
            f"got {edges_hz[-1]:g} Hz."
        )


def _are_covariances(covariances: FloatArray) -> bool:
    if not np.allclose(covariances, covariances.swapaxes(-1, -2)):
        return False
    values = np.linalg.eigvalsh(covariances)
    return bool((values[..., 0] >= -1e-6 * np.abs(values[..., -1])).all())
