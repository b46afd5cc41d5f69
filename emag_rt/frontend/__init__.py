"""The causal front end: the same code in calibration, ``upsample`` and ``serve``."""

from emag_rt.frontend.bad_channels import OnBlock
from emag_rt.frontend.filters import CausalFilter, design_band
from emag_rt.frontend.frontend import FrontEnd, FrontEndSettings, Lack
from emag_rt.frontend.jumps import Jump

__all__ = ["CausalFilter", "FrontEnd", "FrontEndSettings", "Jump", "Lack", "OnBlock", "design_band"]
