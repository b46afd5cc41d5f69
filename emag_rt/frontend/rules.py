"""When an LD channel counts as bad."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emag_rt.errors import SettingsError


@dataclass(frozen=True)
class BadChannelRules:
    """When a channel counts as bad.

    Attributes
    ----------
    block_s : float
        Length of the blocks of time that are judged, in s.
    rail_uv : float
        Samples beyond this are not EEG: the channel is bad at once.
    flat_uv : float
        Bad when the raw peak-to-peak of a block stays below this, in µV.
    dead_ratio : float
        Bad when its filtered rms is below this share of the median channel's.
    wild_ratio : float
        Bad when its disagreement with its own prediction from the other channels exceeds this
        many times the calibration's.
    line_ratio : float
        Bad when the 50 or 60 Hz part of that disagreement, in the same unit, exceeds this and
        this many times the median channel's.
    clipped_share : float
        Bad when more than this share of a block lies on its own extremes, over 1 mV apart.
    jump_uv : float
        A difference between neighbouring samples beyond this is a jump, not EEG.
    blocks_to_bad : int
        Wild, flooded, clipped or dead blocks in a row before the channel is bad.
    blocks_to_good : int
        Clean blocks in a row before it is good again.
    swap_blocks : int
        Blocks over which channels in each other's place are looked for.
    swap_gain, swap_share : float
        See :class:`emag_rt.frontend.swaps.SwapWatch`.
    max_share : float
        With more than this share of the channels bad, or all of them, too many are bad.
    """

    block_s: float = 0.5
    rail_uv: float = 1e6
    flat_uv: float = 0.1
    dead_ratio: float = 0.02
    wild_ratio: float = 10.0
    line_ratio: float = 1.5
    clipped_share: float = 0.25
    jump_uv: float = 2000.0
    blocks_to_bad: int = 2
    blocks_to_good: int = 4
    swap_blocks: int = 40
    swap_gain: float = 0.1
    swap_share: float = 0.9
    max_share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.rail_uv < np.inf:
            raise SettingsError(
                f"rail_uv must be positive and finite, got {self.rail_uv}: it also tells numbers "
                "from infinity."
            )
