"""What the residual's networks learn from, how they are trained, and what comes of it.

Plain numbers and arrays: torch is imported by the modules that train.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from calibration.regression.blocks import Block
from emag_rt.array_types import BoolArray, Float32Array, FloatArray, IndexArray
from emag_rt.errors import CalibrationError

ALL_SPLITS = -1
"""In the place of a split: the network learns from every block."""


@dataclass(frozen=True)
class ResidualSettings:
    """How the networks are trained.

    Attributes
    ----------
    n_units : int
        Units of one network.
    n_blocks : int
        Residual blocks; the dilations are 1, 2, 4... steps.
    dropout : float
        Share of inner units silenced in training, in [0, 1).
    n_whole : int
        Networks that learn from the whole session, besides the one a split.
    epochs : float
        Passes over the session.
    min_steps, max_steps : int
        Bounds on the optimiser's steps.
    batch_size, n_times : int
        Sequences a step and network, and the samples of each that are learnt from.
    learning_rate, weight_decay : float
        Of AdamW; the rate warms up and falls by a cosine.
    ema : float
        Decay of the running mean of the weights, the version that is validated and kept.
    n_checks : int
        Validations.
    bag_size : float
        Networks that the bag counts for when a gain measured on one split's network is carried
        over to the whole bag, whose noise is smaller. 1 is the most careful.
    one_steps : int
        Steps in which one network learns to give what the bag gives, 1000 to come within a third
        of a per cent of its error; 0 keeps the bag.
    one_learning_rate : float
        Of these.
    """

    n_units: int = 32
    n_blocks: int = 8
    dropout: float = 0.3
    n_whole: int = 3
    epochs: float = 30.0
    min_steps: int = 300
    max_steps: int = 2500
    batch_size: int = 2
    n_times: int = 512
    learning_rate: float = 4e-3
    weight_decay: float = 1e-2
    ema: float = 0.99
    n_checks: int = 10
    bag_size: float = 3.0
    one_steps: int = 0
    one_learning_rate: float = 8e-3

    def __post_init__(self) -> None:
        counts = [self.n_units, self.n_blocks, self.min_steps, self.batch_size, self.n_times]
        counts += [self.max_steps - self.min_steps + 1, self.n_checks, self.n_whole + 1]
        counts += [self.one_steps + 1]
        shares = (self.dropout, self.ema)
        if min(counts) < 1 or not all(0 <= share < 1 for share in shares) or self.bag_size < 1:
            raise CalibrationError(
                "residual settings must have counts and bag_size of at least 1, max_steps of at "
                f"least min_steps, and dropout and ema in [0, 1), got {self}. Use the defaults."
            )

    @property
    def memory(self) -> int:
        """Steps of the past that a network sees."""
        return int(2**self.n_blocks) - 1


@dataclass(frozen=True)
class Task:
    """Everything that training needs, scaled to unit variance.

    ``z`` (n_times, n_features) and ``r`` (n_times, n_out) hold all segments, one after another;
    ``train`` has a mask a split, ``held`` the rows that each holds out. Blocks count samples
    within their segment.
    """

    z: Float32Array
    r: Float32Array
    sample_weight: Float32Array
    z_scale: FloatArray
    r_scale: FloatArray
    lengths: tuple[int, ...]
    blocks: tuple[Block, ...]
    train: tuple[BoolArray, ...]
    held: tuple[IndexArray, ...]
    step: int

    def sequence_length(self, longest: int) -> int:
        """Samples of a sequence that are learnt from: what nine tenths of the session allow."""
        lengths = np.sort(self.lengths)
        behind = np.cumsum(lengths) / lengths.sum()
        shortest = int(lengths[np.searchsorted(behind, 0.1)])
        return max(1, min(longest, shortest // (2 * self.step)))

    def n_steps(self, settings: ResidualSettings) -> int:
        """Steps of the optimiser: the passes over the session that were asked for, in bounds."""
        size = settings.batch_size * self.sequence_length(settings.n_times)
        # Above 160 Hz a step of the networks is several samples: an epoch has fewer of them.
        seen = (len(self.train) - 1) / len(self.train)
        wanted = settings.epochs * len(self.r) / self.step / size * seen
        return min(max(round(wanted), settings.min_steps), settings.max_steps)


@dataclass(frozen=True)
class TrainedNetwork:
    """One network at its best.

    Attributes
    ----------
    split : int
        The split that validated it, or ``ALL_SPLITS``.
    weights : dict of str to ndarray, or None
        Float32, by the names of :class:`calibration.residual.network.Networks`, as x @ w + b.
        None where it was never better than nothing.
    held : ndarray, shape (n_held, n_out), float64, or None
        What it gave for the rows that its split holds out.
    """

    split: int
    weights: dict[str, Float32Array] | None
    held: FloatArray | None
