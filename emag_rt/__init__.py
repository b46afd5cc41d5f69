"""emag_rt: wear few EEG electrodes, get many, live.

The public entry points are :class:`emag_rt.Upsampler` (the live signal path as an
object) and the ``emag-rt`` command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emag_rt.errors import EmagError

if TYPE_CHECKING:
    from emag_rt.engine.upsampler import Upsampler

__version__ = "0.2.0.dev0"

__all__ = ["EmagError", "Upsampler", "__version__"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `emag-rt --help` does not pay for the numerical stack.
    if name == "Upsampler":
        from emag_rt.engine.upsampler import Upsampler

        return Upsampler
    raise AttributeError(f"module 'emag_rt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
