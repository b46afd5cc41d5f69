"""The causal front end: the same code in calibration, ``upsample`` and ``serve``."""

from emag_rt.frontend.filters import CausalFilter, design_band
from emag_rt.frontend.frontend import FrontEnd, FrontEndSettings, Lack
from emag_rt.frontend.steps import Step

__all__ = ["CausalFilter", "FrontEnd", "FrontEndSettings", "Lack", "Step", "design_band"]
