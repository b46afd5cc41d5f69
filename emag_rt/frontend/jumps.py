"""Jumps that no EEG makes: changes of reference, shifts of DC, electrode pops."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emag_rt.array_types import BoolArray, FloatArray

# What EEG may have done in the samples of a jump, as a share of the limit: back to within this is
# back where it was.
_LIKENESS = 0.1


@dataclass(frozen=True)
class Jump:
    """A jump between two samples.

    Attributes
    ----------
    channels : tuple of str
        LD channels that jumped.
    size_uv : float
        The largest jump, µV.
    common : bool
        Whether the median channel jumped as well: the reference, not an electrode.
    """

    channels: tuple[str, ...]
    size_uv: float
    common: bool


class JumpRemover:
    """Takes jumps out of what the filter sees, so that it has nothing to ring about.

    Parameters
    ----------
    offset : ndarray, shape (n_ld,)
        What the filter takes off each channel; changed in place.
    limit_uv : float
        What differs by more than this from one sample to the next is a jump.
    """

    def __init__(self, offset: FloatArray, limit_uv: float) -> None:
        self._offset, self._limit = offset, limit_uv
        self.reset()

    def reset(self) -> None:
        """Forget former levels."""
        self._before = np.full(len(self._offset), np.nan)
        self._moved = np.nan

    def take_out(self, now: FloatArray, last: FloatArray) -> tuple[BoolArray, BoolArray]:
        """Go on at the level of the sample before, or at the one before the last jump.

        Parameters
        ----------
        now, last : ndarray, shape (n_ld,)
            A sample that holds a jump and the one before, finite, µV.

        Returns
        -------
        common, own : ndarray of bool, shape (n_ld,)
            Channels that moved with the reference, and that jumped on their own.
        """
        jump = now - last
        usual = float(np.median(jump))
        apart = np.abs(jump - usual) > self._limit
        common = ~apart & (abs(usual) > self._limit)
        if common.any():
            self._move_all(common, usual)
        own = apart & (np.abs(jump) > self._limit)
        self._move_one_by_one(own, jump, now, last)
        return common, own

    def _move_all(self, common: BoolArray, usual: float) -> None:
        """By the same for all, so that the differences between channels stay what they are."""
        by = usual
        if abs(usual + self._moved) <= _LIKENESS * self._limit:
            by = -self._moved  # the reference is back where it was
        self._moved = by
        self._offset[common] += by
        self._before[common] += by

    def _move_one_by_one(
        self, own: BoolArray, jump: FloatArray, now: FloatArray, last: FloatArray
    ) -> None:
        # The level before the last jump fits again: a pop is over, as if it had not been.
        at_former = np.abs(now - self._before - (last - self._offset)) <= _LIKENESS * self._limit
        after = np.where(at_former, self._before, self._offset + jump)
        self._before[own] = self._offset[own]
        self._offset[own] = after[own]
