"""Blocks of time, dealt to the splits of a cross-validation, with guards at their borders.

Neighbouring EEG samples are nearly copies of each other, so a split at random would flatter
every model. Segments are cut into contiguous blocks, the blocks are dealt to the splits in turn
(so that each holds out some of the beginning and of the end of the session), and samples within a
guard of a border count for neither side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray
from emag_rt.errors import CalibrationError

Segment = tuple[FloatArray, FloatArray]
"""Inputs x (n_times, n_ld) and targets y (n_times, n_out) in µV, continuous in time."""


@dataclass(frozen=True)
class Block:
    """Consecutive samples of one segment, and the split that holds them out.

    Attributes
    ----------
    segment : int
        Index of the segment.
    start, stop : int
        First sample, and one past the last, within the segment.
    split : int
        Split that holds this block out.
    """

    segment: int
    start: int
    stop: int
    split: int


def make_blocks(
    lengths: Sequence[int], n_splits: int = 5, blocks_per_split: int = 4
) -> tuple[Block, ...]:
    """Cut segments into blocks of about equal length, dealt to the splits in turn.

    Parameters
    ----------
    lengths : sequence of int
        Samples in each segment; a block never spans two segments.
    n_splits : int
        Number of splits, at least 2.
    blocks_per_split : int
        Blocks that a split gets, about.

    Returns
    -------
    tuple of Block
        Every sample belongs to exactly one block.

    Raises
    ------
    CalibrationError
        If there are fewer than two splits, or too few samples to fill them.
    """
    if n_splits < 2 or blocks_per_split < 1:
        raise CalibrationError(
            f"n_splits must be at least 2 and blocks_per_split at least 1, got {n_splits} and "
            f"{blocks_per_split}. Keep the defaults of 5 and 4."
        )
    total = int(sum(lengths))
    wanted = n_splits * blocks_per_split
    if total < 16 * wanted or min(lengths, default=0) < 1:
        raise CalibrationError(
            f"The session must hold at least {16 * wanted} samples in non-empty segments, got "
            f"{total} in {len(lengths)}. Record for longer, or ask for fewer splits."
        )
    blocks: list[Block] = []
    for segment, length in enumerate(lengths):
        edges = np.linspace(0, length, max(1, round(length * wanted / total)) + 1).astype(int)
        for start, stop in pairwise(edges):
            blocks.append(Block(segment, int(start), int(stop), len(blocks) % n_splits))
    if len(blocks) < n_splits:
        raise CalibrationError(
            f"The segments must fill {n_splits} splits, got {len(blocks)} blocks. "
            "Ask for more blocks a split."
        )
    return tuple(blocks)


def n_splits_of(blocks: Sequence[Block]) -> int:
    """Count the splits.

    Parameters
    ----------
    blocks : sequence of Block
        As made by :func:`make_blocks`.

    Returns
    -------
    int
        Number of splits.
    """
    return 1 + max(block.split for block in blocks)


def guarded_start(block: Block, guard: int) -> int:
    """First sample of a block that is clear of the block before it.

    The lags of a block's first samples reach into its predecessor. A guard never takes more
    than a quarter of a block: short recordings keep most of their samples.

    Parameters
    ----------
    block : Block
        The block.
    guard : int
        Samples to leave out.

    Returns
    -------
    int
        Index within the segment.
    """
    if block.start == 0:
        return 0
    return block.start + min(guard, (block.stop - block.start) // 4)


def held_out_rows(lengths: Sequence[int], blocks: Sequence[Block], split: int) -> BoolArray:
    """Mark the samples that a split holds out.

    Parameters
    ----------
    lengths : sequence of int
        Samples in each segment.
    blocks : sequence of Block
        As made by :func:`make_blocks`.
    split : int
        The split.

    Returns
    -------
    ndarray, shape (sum of lengths,), bool
        True inside the split's blocks; the segments stand one after another.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.zeros(int(offsets[-1]), dtype=bool)
    for block in blocks:
        if block.split == split:
            begin = int(offsets[block.segment])
            rows[begin + block.start : begin + block.stop] = True
    return rows


def training_rows(
    lengths: Sequence[int], blocks: Sequence[Block], split: int, guard: int
) -> BoolArray:
    """Mark the samples that a split trains on: further than the guard from what it holds out.

    Parameters
    ----------
    lengths : sequence of int
        Samples in each segment.
    blocks : sequence of Block
        As made by :func:`make_blocks`.
    split : int
        The split.
    guard : int
        Samples on either side of a held-out block that are left out as well. A quarter of the
        block's length is the most that is taken. Guards do not cross into other segments.

    Returns
    -------
    ndarray, shape (sum of lengths,), bool
        True where the split may train.
    """
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.ones(int(offsets[-1]), dtype=bool)
    for block in blocks:
        if block.split == split:
            reach = min(guard, (block.stop - block.start) // 4)
            begin, end = int(offsets[block.segment]), int(offsets[block.segment + 1])
            first = max(begin, begin + block.start - reach)
            rows[first : min(end, begin + block.stop + reach)] = False
    return rows


def check_segments(segments: Sequence[Segment]) -> tuple[int, int]:
    """Refuse segments that do not fit together.

    Parameters
    ----------
    segments : sequence of (x, y)
        Inputs (n_times, n_ld) and targets (n_times, n_out), finite.

    Returns
    -------
    n_ld, n_out : int
        Number of inputs and outputs.

    Raises
    ------
    CalibrationError
        If there is no segment, the shapes differ, or a value is not finite.
    """
    if not segments:
        raise CalibrationError("segments must hold at least one (x, y) pair, got none.")
    n_ld, n_out = segments[0][0].shape[-1], segments[0][1].shape[-1]
    for index, (x, y) in enumerate(segments):
        if x.shape != (len(x), n_ld) or y.shape != (len(x), n_out) or not n_ld or not n_out:
            raise CalibrationError(
                f"segments[{index}] must have shapes (n_times, {n_ld}) and (n_times, {n_out}), "
                f"got {x.shape} and {y.shape}. Use the same channels in every segment."
            )
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise CalibrationError(
                f"segments[{index}] must be finite, got NaN or infinity. "
                "Cut the bad stretch out, or drop the bad channel."
            )
    return n_ld, n_out
