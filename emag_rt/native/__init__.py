"""The hot path compiled from C, where a compiler was there when the package was installed.

Everything here has a NumPy twin that does the same sums: :mod:`emag_rt.frontend.filters`, and
the ``packed`` engine. They are the reference and the fallback. Addresses and structures of C stay
in this package; others hand over arrays and get arrays.
"""

from emag_rt.native.field import NativeField
from emag_rt.native.filter import NativeFilter
from emag_rt.native.fused import FusedCall
from emag_rt.native.library import load, why_not

__all__ = ["FusedCall", "NativeField", "NativeFilter", "load", "why_not"]
