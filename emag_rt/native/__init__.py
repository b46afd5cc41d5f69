"""The hot path compiled from C, where a compiler was there when the package was installed.

Everything here has a NumPy twin that does the same sums: :mod:`emag_rt.frontend.filters`, and
the ``packed`` engine. They are the reference and the fallback.
"""

from emag_rt.native.field import NativeField
from emag_rt.native.library import BLOCK, FrontEndStruct, Memory, load, why_not

__all__ = ["BLOCK", "FrontEndStruct", "Memory", "NativeField", "load", "why_not"]
