"""Measured and rendered HD as one to a decoder."""

from emag_rt.decoding.aligner import AlignedEpochs, Aligner
from emag_rt.decoding.band_map import BandMap, rendering_matrix

__all__ = ["AlignedEpochs", "Aligner", "BandMap", "rendering_matrix"]
