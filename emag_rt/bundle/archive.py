"""Reading and writing ``.emag`` files: a stored zip of two members, nothing executable."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from emag_rt.array_types import Samples
from emag_rt.bundle import band_tensors
from emag_rt.bundle import tensors as arrays
from emag_rt.bundle.bundle import Bundle
from emag_rt.bundle.container import MANIFEST, MEMBERS, TENSORS, check_names, open_members
from emag_rt.bundle.limits import MAX_MAGNITUDE, check_gain, check_state
from emag_rt.bundle.manifest import FORMAT_VERSION, Manifest
from emag_rt.core.activation import Activation
from emag_rt.errors import BundleError, EmagError, short
from emag_rt.files import replacing

MAX_HEADER_BYTES = 1 << 20
"""Of the tensors: ours take some 10 KiB."""
# A fixed date keeps equal bundles equal to the byte.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def save_bundle(bundle: Bundle, path: str | os.PathLike[str], *, new: bool = False) -> str:
    """Write a bundle, in the newest format; the file appears whole or not at all.

    Parameters
    ----------
    bundle : Bundle
        What to write.
    path : path-like
        Where; an existing file is replaced.
    new : bool
        None of that name may be there.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    BundleError
        If it could not be read again.
    OutputError
        If the file cannot be written.
    """
    check_state(bundle.model, bundle.operator)
    check_gain(bundle.operator, bundle.frontend_settings.sos)
    content = {
        **arrays.model_tensors(bundle.model),
        **arrays.operator_tensors(bundle.operator),
        **arrays.baseline_tensors(bundle.baselines),
        "ld_covariance": bundle.covariance,
    }
    if bundle.lagged_covariance is not None:
        content["ld_lagged_covariance"] = bundle.lagged_covariance
    if bundle.statistics is not None:
        content |= arrays.statistics_tensors(bundle.statistics)
    if bundle.ld_bands is not None:
        content |= band_tensors.ld_bands_tensors(bundle.ld_bands)
    if bundle.hd_bands is not None:
        content |= band_tensors.hd_bands_tensors(bundle.hd_bands)
    contiguous: dict[str, Samples] = {
        name: np.ascontiguousarray(value, dtype=np.float64) for name, value in content.items()
    }
    if bundle.cross_spectra is not None:
        contiguous |= band_tensors.cross_spectra_tensors(bundle.cross_spectra)
    manifest = bundle.manifest.model_copy(update={"format": FORMAT_VERSION})
    blobs = {
        MANIFEST: manifest.model_dump_json(indent=1).encode(),
        TENSORS: save_tensors(contiguous),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in MEMBERS[FORMAT_VERSION]:
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), blobs[name])
    data = buffer.getvalue()
    with replacing(path, "bundle", new=new) as beside:
        beside.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read and check a bundle.

    Nothing in it is run, no other file is opened, and no size it claims is believed. Files of
    format 1 also hold a graph, ``render.onnx``, which is not read: whatever it is can do no harm,
    and engines make theirs from the arrays.

    Parameters
    ----------
    path : path-like
        An ``.emag`` file.

    Returns
    -------
    Bundle
        With its ``sha256``.

    Raises
    ------
    BundleError
        If the file is missing, damaged, unsafe, inconsistent, or of a newer format.
    """
    path = Path(path)
    with open_members(path) as (names, read, digest):
        try:
            manifest = _read_manifest(read(MANIFEST))
            check_names(path, names, MEMBERS[manifest.format])
            return _assemble(manifest, _read_tensors(read(TENSORS)), digest)
        except EmagError as error:
            text = str(error)
            prefix = "" if text.startswith(f"bundle {path}: ") else f"bundle {path}: "
            raise BundleError(f"{prefix}{text}") from error


def _assemble(manifest: Manifest, tensors: arrays.Tensors, digest: str) -> Bundle:
    activation: Activation = "relu" if manifest.render.get("activation") == "relu" else "gelu"
    _ = manifest.ld_montage, manifest.hd_montage  # labels that mean one electrode are refused
    bundle = Bundle(
        manifest=manifest,
        model=arrays.read_model(tensors, manifest, activation),
        operator=arrays.read_operator(tensors, manifest, activation),
        covariance=arrays.read_covariance(tensors, manifest),
        baselines=arrays.read_baselines(tensors, manifest),
        sha256=digest,
        lagged_covariance=arrays.read_lagged_covariance(tensors, manifest),
        statistics=arrays.read_statistics(tensors, manifest),
        cross_spectra=band_tensors.read_cross_spectra(tensors, manifest),
        ld_bands=band_tensors.read_ld_bands(tensors, manifest),
        hd_bands=band_tensors.read_hd_bands(tensors, manifest),
    )
    check_state(bundle.model, bundle.operator)
    check_gain(bundle.operator, bundle.frontend_settings.sos)
    return bundle


def _read_manifest(blob: bytes) -> Manifest:
    try:
        content = json.loads(blob)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"manifest.json is not JSON ({str(error)[:200]}).") from error
    version = content.get("format") if isinstance(content, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(
            f"format must be at most {FORMAT_VERSION} for this emag_rt, got {short(version)}: "
            "the bundle was written by a newer one. Upgrade emag_rt, or calibrate again."
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = (
            ".".join(
                ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in first["loc"]
            )
            or "manifest"
        )
        raise BundleError(
            f"manifest.json: {where[:200]}: {first['msg']}, got {short(first['input'])}."
        ) from error


def _read_tensors(blob: bytes) -> arrays.Tensors:
    header_bytes = int.from_bytes(blob[:8], "little")
    if header_bytes > MAX_HEADER_BYTES:
        raise BundleError(
            f"field.safetensors: its header must be at most {MAX_HEADER_BYTES >> 10} KiB, it "
            f"claims {header_bytes} bytes."
        )
    try:
        tensors = load_tensors(blob)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise BundleError(f"field.safetensors is damaged ({str(error)[:200]}).") from error
    for name, value in tensors.items():
        shown = ascii(name[:80])
        wanted = np.float32 if name.startswith(band_tensors.SPECTRA) else np.float64
        if value.dtype != wanted or not np.isfinite(value).all():
            raise BundleError(
                f"field.safetensors: {shown} must hold finite {np.dtype(wanted)}, got {value.dtype}"
                f"{'' if value.dtype != wanted else ' with NaN or infinity'}."
            )
        largest = float(np.abs(value).max(initial=0.0))
        if largest > MAX_MAGNITUDE:
            raise BundleError(
                f"field.safetensors: {shown} must hold numbers up to {MAX_MAGNITUDE:g}, got "
                f"{largest:.3g}."
            )
    return tensors
