"""EMAG as its paper has it (arXiv 2605.29731): every part trained by gradient, in windows.

:func:`calibration.paper.baseline.fit_paper_like` is the baseline "paper-like EMAG, same data,
trained to convergence"; :mod:`calibration.paper.paper_field` makes a servable field of a fit.
"""

from calibration.settings.paper_options import PaperOptions

__all__ = ["PaperOptions"]
