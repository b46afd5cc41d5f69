"""Whether a GPU may be there at all, found out without loading anything heavy."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

_NEEDS = {"onnx": (("onnx", "onnxruntime"), "gpu"), "torch": (("torch",), "calibrate")}
"""Packages of the engines that may run on a GPU, and the extra that brings them."""


def has_nvidia_device() -> bool:
    """Whether an NVIDIA driver runs here."""
    if os.name == "nt":
        return Path(os.environ.get("SYSTEMROOT", ""), "System32", "nvcuda.dll").exists()
    return Path("/dev/nvidiactl").exists()


def why_not_on_gpu(engine: str) -> str:
    """Why it is not worth it to import what an engine needs for a GPU; empty where it is.

    Parameters
    ----------
    engine : {"onnx", "torch"}
        Which engine.
    """
    packages, extra = _NEEDS[engine]
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} must be installed (pip install 'emag-rt[{extra}]')"
    return "" if has_nvidia_device() else "no NVIDIA device is here"
