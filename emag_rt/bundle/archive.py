"""Reading and writing ``.emag`` files: a stored zip of three members, nothing executable."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from emag_rt.bundle import tensors as arrays
from emag_rt.bundle.bundle import Bundle
from emag_rt.bundle.manifest import FORMAT_VERSION, Manifest
from emag_rt.core.activation import Activation
from emag_rt.errors import BundleError, EmagError

MEMBERS = ("manifest.json", "field.safetensors", "render.onnx")
MAX_BYTES = 1 << 30
MAX_MANIFEST_BYTES = 16 << 20
# A fixed date keeps equal bundles equal to the byte.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def save_bundle(bundle: Bundle, path: str | os.PathLike[str]) -> str:
    """Write a bundle; the file appears whole or not at all.

    Parameters
    ----------
    bundle : Bundle
        What to write.
    path : path-like
        Where; an existing file is replaced.

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    BundleError
        If the file cannot be written.
    """
    target = Path(path)
    content = {
        **arrays.model_tensors(bundle.model),
        **arrays.operator_tensors(bundle.operator),
        **arrays.baseline_tensors(bundle.baselines),
        "ld_covariance": bundle.covariance,
    }
    if bundle.lagged_covariance is not None:
        content["ld_lagged_covariance"] = bundle.lagged_covariance
    contiguous = {k: np.ascontiguousarray(v, dtype=np.float64) for k, v in content.items()}
    blobs = {
        "manifest.json": bundle.manifest.model_dump_json(indent=1).encode(),
        "field.safetensors": save_tensors(contiguous),
        "render.onnx": bundle.onnx,
    }
    part: Path | None = None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in MEMBERS:
            archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), blobs[name])
    data = buffer.getvalue()
    try:
        with tempfile.NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as handle:
            part = Path(handle.name)
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        part.chmod(0o644)
        os.replace(part, target)
    except OSError as error:
        if part is not None:
            part.unlink(missing_ok=True)
        raise BundleError(f"bundle {target}: cannot be written: {error.strerror}.") from error
    return hashlib.sha256(data).hexdigest()


def load_bundle(path: str | os.PathLike[str]) -> Bundle:
    """Read and check a bundle.

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
    blobs, digest = _read_members(Path(path))
    try:
        manifest = _read_manifest(blobs["manifest.json"])
        tensors = _read_tensors(blobs["field.safetensors"])
        activation: Activation = "relu" if manifest.render.get("activation") == "relu" else "gelu"
        _ = manifest.ld_montage, manifest.hd_montage  # labels that mean one electrode are refused
        return Bundle(
            manifest=manifest,
            model=arrays.read_model(tensors, manifest, activation),
            operator=arrays.read_operator(tensors, manifest, activation),
            covariance=arrays.read_covariance(tensors, manifest),
            onnx=blobs["render.onnx"],
            baselines=arrays.read_baselines(tensors, manifest),
            sha256=digest,
            lagged_covariance=arrays.read_lagged_covariance(tensors, manifest),
        )
    except EmagError as error:
        raise BundleError(f"bundle {path}: {error}") from error


def _read_members(path: Path) -> tuple[dict[str, bytes], str]:
    """Bytes of the three members, after the checks that need no parsing."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BundleError(
                f"bundle {path}: must be at most {MAX_BYTES >> 20} MiB, got {size >> 20} MiB."
            )
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            names = sorted(entry.filename for entry in entries)
            if names != sorted(MEMBERS):
                raise BundleError(
                    f"bundle {path}: must hold exactly {', '.join(MEMBERS)}, got "
                    f"{', '.join(names[:8]) or 'nothing'}. Is this an .emag file?"
                )
            for entry in entries:
                stored = entry.compress_type == zipfile.ZIP_STORED
                if not stored or entry.flag_bits & 1 or entry.file_size > len(data):
                    raise BundleError(
                        f"bundle {path}: {entry.filename} must be stored uncompressed and "
                        "unencrypted. The file was not written by emag_rt."
                    )
            blobs = {entry.filename: archive.read(entry) for entry in entries}
    except FileNotFoundError as error:
        raise BundleError(f"bundle {path}: no such file. Make one: emag-rt calibrate.") from error
    except OSError as error:
        raise BundleError(f"bundle {path}: cannot be read: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OverflowError) as error:
        raise BundleError(
            f"bundle {path}: damaged or not an .emag file ({error}). Copy or calibrate it again."
        ) from error
    return blobs, hashlib.sha256(data).hexdigest()


def _read_manifest(blob: bytes) -> Manifest:
    if len(blob) > MAX_MANIFEST_BYTES:
        raise BundleError(f"manifest.json must be at most {MAX_MANIFEST_BYTES >> 20} MiB.")
    try:
        content = json.loads(blob)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"manifest.json is not JSON ({error}).") from error
    version = content.get("format") if isinstance(content, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(
            f"format must be at most {FORMAT_VERSION} for this emag_rt, got {version}: the bundle "
            "was written by a newer one. Upgrade emag_rt, or calibrate again."
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise BundleError(f"manifest.json: {where}: {first['msg']}.") from error


def _read_tensors(blob: bytes) -> dict[str, NDArray[np.float64]]:
    try:
        tensors = load_tensors(blob)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"field.safetensors is damaged ({error}).") from error
    for name, value in tensors.items():
        if value.dtype != np.float64 or not np.isfinite(value).all():
            raise BundleError(
                f"field.safetensors: {name!r} must hold finite float64, got {value.dtype}"
                f"{'' if value.dtype != np.float64 else ' with NaN or infinity'}."
            )
    return tensors
