"""Whether a GPU may be there at all, found out without loading anything heavy."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


def has_nvidia_device() -> bool:
    """Whether an NVIDIA driver runs here."""
    if os.name == "nt":
        return Path(os.environ.get("SYSTEMROOT", ""), "System32", "nvcuda.dll").exists()
    return Path("/dev/nvidiactl").exists()


def why_not_torch() -> str:
    """Why it is not worth it to import torch for its GPU; empty where it is."""
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed (pip install 'emag-rt[calibrate]')"
    return "" if has_nvidia_device() else "no NVIDIA device is here"
